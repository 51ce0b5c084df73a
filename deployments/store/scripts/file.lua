local tenant, digest = unpack(ARGV, 4, 5)
local image = image_of(tenant, digest)
if not image then return false end
local content = redis.call('GET', key('file:' .. tenant .. ':' .. digest))
if not content then return false end
used(tenant, digest)
return {content, image.width, image.height, image.born}
