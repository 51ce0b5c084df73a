-- A session with a name takes the place of the one that had it.
local tenant, id, revision, record, file, most, most_bytes, name = unpack(ARGV, 4, 11)
end_idle_sessions()
if redis.call('EXISTS', session_key(tenant, id)) == 1 then return {'open', ''} end -- this step was repeated
local before = name ~= '' and redis.call('HGET', key('video:named:' .. tenant), name) or ''
if before ~= '' then end_session(tenant, before) end
if redis.call('ZCARD', key('video:of:' .. tenant)) >= tonumber(most) then return {'count', before} end
redis.call('HSET', session_key(tenant, id), 'revision', revision, 'record', record, 'picture', '', 'file', file)
if name ~= '' then
  redis.call('HSET', session_key(tenant, id), 'name', name)
  redis.call('HSET', key('video:named:' .. tenant), name, id)
end
redis.call('ZADD', key('video:of:' .. tenant), text(micros()), id)
weigh_session(tenant, id, bytes_of(tenant, id))
used_session(tenant, id)
if too_many_bytes(tenant, tonumber(most_bytes)) then
  end_session(tenant, id)
  return {'bytes', before}
end
return {'open', before}
