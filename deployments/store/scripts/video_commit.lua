-- A session goes on from `base` to `revision`. Answers of frames before `oldest` are dropped.
local tenant, id, base, revision, record, picture, oldest, most_bytes = unpack(ARGV, 4, 11)
if not is_there(tenant, id) then return 'gone' end
local session, answers = session_key(tenant, id), answers_key(tenant, id)
local now = redis.call('HGET', session, 'revision')
if now == revision then return 'done' end -- this step was repeated
if now ~= base then return 'other' end
redis.call('HSET', session, 'revision', revision, 'record', record)
if picture ~= '' then redis.call('HSET', session, 'picture', picture) end
for _, frame in ipairs(redis.call('HKEYS', answers)) do
  if tonumber(frame) < tonumber(oldest) then redis.call('HDEL', answers, frame) end
end
for place = 12, #ARGV, 2 do redis.call('HSET', answers, ARGV[place], ARGV[place + 1]) end
weigh_session(tenant, id, bytes_of(tenant, id))
-- Beyond the budget the session goes on with less: first without its last picture, then without earlier answers.
if too_many_bytes(tenant, tonumber(most_bytes)) then
  redis.call('HSET', session, 'picture', '')
  weigh_session(tenant, id, bytes_of(tenant, id))
end
if too_many_bytes(tenant, tonumber(most_bytes)) then
  redis.call('DEL', answers)
  weigh_session(tenant, id, bytes_of(tenant, id))
end
used_session(tenant, id)
return 'done'
