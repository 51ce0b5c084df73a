local tenant, found = ARGV[4], {}
end_idle_sessions()
for _, id in ipairs(redis.call('ZREVRANGE', key('video:of:' .. tenant), 0, -1)) do
  if redis.call('EXISTS', session_key(tenant, id)) == 1 then
    table.insert(found, {id, redis.call('HGET', session_key(tenant, id), 'record')})
  end
end
return found
