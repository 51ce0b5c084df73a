-- Each script is this text and its own. All keys begin with the prefix, whose braces put them on one node of a cluster.
-- KEYS[1]: the clock. ARGV: prefix, idle time in ms, budget in bytes, then the script's own. In front of this text stand
-- `most_ids`, of one image, and `most_images`, of one tenant, which bounds its ids too.
--
--   clock                    the last stamp: microseconds of the server's clock, never twice the same
--   tenants                  tenant -> bytes of its files
--   bytes                    their sum
--   quotas                   tenant -> most bytes of its files
--   images:TENANT            digest -> "width height born bytes"; 0 bytes: the file is not here
--   used:TENANT              digest -> when it was last asked for, in microseconds
--   files:TENANT             the same, of images whose file is here
--   file:TENANT:DIGEST       the file
--   ids:TENANT               chosen id -> digest
--   ids-of:TENANT:DIGEST     the chosen ids of an image
--
-- Nothing is left of a server that is gone for good: every key ends by itself after a multiple of the idle time.

local prefix, idle_ms, budget = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function key(name) return prefix .. name end

local function text(number) return string.format('%.0f', number + 0) end -- never -0

local function micros()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

local function stamp()
  local now = math.max(micros(), tonumber(redis.call('GET', KEYS[1]) or '0') + 1)
  local write = {'SET', KEYS[1], text(now), 'PX', text(8 * idle_ms)}
  local failed = redis.pcall(unpack(write)).err
  -- A full memory does not keep images from being deleted.
  if failed and not string.find(failed, 'OOM') then redis.call(unpack(write)) end
  return now
end

local function image_of(tenant, digest)
  local found = redis.call('HGET', key('images:' .. tenant), digest)
  if not found then return nil end
  local width, height, born, bytes = string.match(found, '(%d+) (%d+) (%d+) (%d+)')
  return {width = width, height = height, born = tonumber(born), bytes = tonumber(bytes)}
end

local function save(tenant, digest, image)
  local fields = {image.width, image.height, text(image.born), text(image.bytes)}
  redis.call('HSET', key('images:' .. tenant), digest, table.concat(fields, ' '))
end

local function weigh(tenant, bytes)
  redis.call('ZINCRBY', key('tenants'), text(bytes), tenant)
  redis.call('INCRBY', key('bytes'), text(bytes))
end

local function drop_file(tenant, digest, image)
  redis.call('DEL', key('file:' .. tenant .. ':' .. digest))
  redis.call('ZREM', key('files:' .. tenant), digest)
  weigh(tenant, -image.bytes)
  image.bytes = 0
end

local function evict_oldest(tenant)
  local digest = redis.call('ZRANGE', key('files:' .. tenant), 0, 0)[1]
  if not digest then return false end
  local image = image_of(tenant, digest)
  drop_file(tenant, digest, image)
  save(tenant, digest, image)
  return true
end

local function remove(tenant, digest)
  local image = image_of(tenant, digest)
  if not image then return false end
  if image.bytes > 0 then drop_file(tenant, digest, image) end
  local ids = key('ids-of:' .. tenant .. ':' .. digest)
  for _, id in ipairs(redis.call('SMEMBERS', ids)) do
    redis.call('HDEL', key('ids:' .. tenant), id)
  end
  redis.call('DEL', ids)
  redis.call('HDEL', key('images:' .. tenant), digest)
  redis.call('ZREM', key('used:' .. tenant), digest)
  if redis.call('EXISTS', key('used:' .. tenant)) == 0 then redis.call('ZREM', key('tenants'), tenant) end
  return true
end

local function used(tenant, digest)
  local now = text(micros())
  redis.call('ZADD', key('used:' .. tenant), now, digest)
  redis.call('ZADD', key('files:' .. tenant), 'XX', now, digest)
  local own = ':' .. tenant .. ':' .. digest
  redis.call('PEXPIRE', key('file' .. own), text(2 * idle_ms))
  redis.call('PEXPIRE', key('ids-of' .. own), text(2 * idle_ms))
  for _, name in ipairs({'images:', 'used:', 'files:', 'ids:'}) do
    redis.call('PEXPIRE', key(name .. tenant), text(2 * idle_ms))
  end
  for _, name in ipairs({'tenants', 'bytes', 'quotas'}) do
    redis.call('PEXPIRE', key(name), text(4 * idle_ms))
  end
end

local function bind(tenant, id, digest)
  local old = redis.call('HGET', key('ids:' .. tenant), id)
  if old == digest then return end
  if old then redis.call('SREM', key('ids-of:' .. tenant .. ':' .. old), id) end
  redis.call('HSET', key('ids:' .. tenant), id, digest)
  local ids = key('ids-of:' .. tenant .. ':' .. digest)
  redis.call('SADD', ids, id)
  while redis.call('SCARD', ids) > most_ids do
    local other = redis.call('SRANDMEMBER', ids)
    if other ~= id then
      redis.call('SREM', ids, other)
      redis.call('HDEL', key('ids:' .. tenant), other)
    end
  end
end

-- Forget the images that a tenant asked for longest ago, while it has too many. Its own, and nobody else's.
local function forget_beyond(tenant)
  while math.max(redis.call('HLEN', key('images:' .. tenant)), redis.call('HLEN', key('ids:' .. tenant))) > most_images do
    local oldest = redis.call('ZRANGE', key('used:' .. tenant), 0, 0)[1]
    if not oldest or not remove(tenant, oldest) then return end
  end
end
