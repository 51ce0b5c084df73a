local tenant, id, digest = unpack(ARGV, 4, 6)
if redis.call('HEXISTS', key('images:' .. tenant), digest) == 0 then return 0 end
bind(tenant, id, digest)
used(tenant, digest)
forget_beyond(tenant)
return 1
