local tenant, now, found = ARGV[4], micros(), {}
for _, digest in ipairs(redis.call('HKEYS', key('images:' .. tenant))) do
  local image = image_of(tenant, digest)
  local ids = redis.call('SMEMBERS', key('ids-of:' .. tenant .. ':' .. digest))
  table.insert(found, {digest, image.width, image.height, image.bytes, now - image.born, ids})
end
return found
