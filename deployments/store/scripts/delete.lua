local tenant, id, digest = unpack(ARGV, 4, 6)
if digest == '' then digest = redis.call('HGET', key('ids:' .. tenant), id) end
if not digest then return false end
local now = stamp()
return {digest, now, remove(tenant, digest) and 1 or 0}
