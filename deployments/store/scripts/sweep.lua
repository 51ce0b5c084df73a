local tenants, limit, idle, files, largest = key('tenants'), text(micros() - idle_ms * 1000), 0, 0, 0
for _, tenant in ipairs(redis.call('ZRANGE', tenants, 0, -1)) do
  local old = redis.call('ZRANGEBYSCORE', key('used:' .. tenant), '-inf', '(' .. limit, 'LIMIT', 0, 1000)
  for _, digest in ipairs(old) do
    if remove(tenant, digest) then idle = idle + 1 end
  end
  local bytes = tonumber(redis.call('ZSCORE', tenants, tenant) or '0')
  if redis.call('EXISTS', key('used:' .. tenant)) == 0 then -- all that it had has ended by itself
    weigh(tenant, -bytes)
    redis.call('ZREM', tenants, tenant)
  else
    files = files + redis.call('ZCARD', key('files:' .. tenant))
    largest = math.max(largest, bytes)
  end
end
return {files, tonumber(redis.call('GET', key('bytes')) or '0'), largest, idle}
