local tenant, id, part = unpack(ARGV, 4, 6)
if not is_there(tenant, id) then return false end
return redis.call('HGET', session_key(tenant, id), part)
