local tenant, id, revision, record, file, most, most_bytes = unpack(ARGV, 4, 10)
end_idle_sessions()
if redis.call('EXISTS', session_key(tenant, id)) == 1 then return 'open' end -- this step was repeated
if redis.call('ZCARD', key('video:of:' .. tenant)) >= tonumber(most) then return 'count' end
redis.call('HSET', session_key(tenant, id), 'revision', revision, 'record', record, 'picture', '', 'file', file)
redis.call('ZADD', key('video:of:' .. tenant), text(micros()), id)
weigh_session(tenant, id, bytes_of(tenant, id))
used_session(tenant, id)
if too_many_bytes(tenant, tonumber(most_bytes)) then
  end_session(tenant, id)
  return 'bytes'
end
return 'open'
