local tenant, id = unpack(ARGV, 4, 5)
if not is_there(tenant, id) then return false end
used_session(tenant, id)
return redis.call('HMGET', session_key(tenant, id), 'revision', 'record')
