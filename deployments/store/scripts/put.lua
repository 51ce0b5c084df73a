local tenant, digest, content, width, height, id, quota = unpack(ARGV, 4, 10)
local tenants = key('tenants')
local image = image_of(tenant, digest)
if not image then image = {width = width, height = height, born = stamp(), bytes = 0} end
local file = key('file:' .. tenant .. ':' .. digest)
if image.bytes > 0 and redis.call('EXISTS', file) == 0 then drop_file(tenant, digest, image) end
redis.call('ZADD', tenants, 'NX', 0, tenant)
if image.bytes == 0 and #content > 0 and #content <= budget then
  redis.call('SET', file, content)
  redis.call('ZADD', key('files:' .. tenant), 0, digest)
  weigh(tenant, #content)
  image.bytes = #content
end
save(tenant, digest, image)
if id ~= '' then bind(tenant, id, digest) end
if quota ~= '' then redis.call('HSET', key('quotas'), tenant, quota) end
used(tenant, digest)
forget_beyond(tenant)

local evicted = 0
local most = tonumber(redis.call('HGET', key('quotas'), tenant))
while most and tonumber(redis.call('ZSCORE', tenants, tenant)) > most and evict_oldest(tenant) do
  evicted = evicted + 1
end
while tonumber(redis.call('GET', key('bytes')) or '0') > budget do
  if not evict_oldest(redis.call('ZREVRANGE', tenants, 0, 0)[1]) then break end
  evicted = evicted + 1
end
return {image.born, evicted}
