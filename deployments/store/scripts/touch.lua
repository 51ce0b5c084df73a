for place = 4, #ARGV, 2 do
  local tenant, digest = ARGV[place], ARGV[place + 1]
  if redis.call('HEXISTS', key('images:' .. tenant), digest) == 1 then used(tenant, digest) end
end
