-- Sessions of videos. Behind `common`; ARGV[2] and ARGV[3] are the idle time and the budget of sessions.
--
--   video:ends               "ID:TENANT" -> when the session ends if nobody asks for it, in microseconds
--   video:bytes              "ID:TENANT" -> its bytes
--   video:tenants            tenant -> bytes of its sessions
--   video:total              their sum
--   video:of:TENANT          id -> when the session began
--   video:named:TENANT       name -> id of the session that has it
--   video:session:TENANT:ID  revision, record, picture, file: of the video that it was begun with, name, and note
--   video:answers:TENANT:ID  frame -> its answer
--
-- An id has 32 characters.

local function member_of(tenant, id) return id .. ':' .. tenant end
local function session_key(tenant, id) return key('video:session:' .. tenant .. ':' .. id) end
local function answers_key(tenant, id) return key('video:answers:' .. tenant .. ':' .. id) end

local function weigh_session(tenant, id, bytes)
  local member = member_of(tenant, id)
  local more = bytes - tonumber(redis.call('HGET', key('video:bytes'), member) or '0')
  redis.call('HSET', key('video:bytes'), member, text(bytes))
  redis.call('ZINCRBY', key('video:tenants'), text(more), tenant)
  redis.call('INCRBY', key('video:total'), text(more))
end

local function end_session(tenant, id)
  local name = redis.call('HGET', session_key(tenant, id), 'name')
  if name then redis.call('HDEL', key('video:named:' .. tenant), name) end
  local there = redis.call('DEL', session_key(tenant, id))
  redis.call('DEL', answers_key(tenant, id))
  weigh_session(tenant, id, 0)
  redis.call('HDEL', key('video:bytes'), member_of(tenant, id))
  redis.call('ZREM', key('video:ends'), member_of(tenant, id))
  redis.call('ZREM', key('video:of:' .. tenant), id)
  if redis.call('EXISTS', key('video:of:' .. tenant)) == 0 then redis.call('ZREM', key('video:tenants'), tenant) end
  return there
end

local function end_idle_sessions()
  local now = text(micros())
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', key('video:ends'), '-inf', now, 'LIMIT', 0, 100)) do
    end_session(string.sub(member, 34), string.sub(member, 1, 32))
  end
end

local function is_there(tenant, id)
  local ends = redis.call('ZSCORE', key('video:ends'), member_of(tenant, id))
  if ends and tonumber(ends) <= micros() then end_session(tenant, id) end
  return redis.call('EXISTS', session_key(tenant, id)) == 1
end

local function used_session(tenant, id)
  redis.call('ZADD', key('video:ends'), text(micros() + idle_ms * 1000), member_of(tenant, id))
  redis.call('PEXPIRE', session_key(tenant, id), text(2 * idle_ms))
  redis.call('PEXPIRE', answers_key(tenant, id), text(2 * idle_ms))
  for _, name in ipairs({'ends', 'bytes', 'tenants', 'total', 'of:' .. tenant, 'named:' .. tenant}) do
    redis.call('PEXPIRE', key('video:' .. name), text(4 * idle_ms))
  end
end

local function bytes_of(tenant, id)
  local bytes = 0
  for _, field in ipairs({'record', 'picture', 'file', 'note'}) do
    bytes = bytes + redis.call('HSTRLEN', session_key(tenant, id), field)
  end
  local answers = answers_key(tenant, id)
  for _, frame in ipairs(redis.call('HKEYS', answers)) do bytes = bytes + redis.call('HSTRLEN', answers, frame) end
  return bytes
end

local function too_many_bytes(tenant, most)
  return tonumber(redis.call('ZSCORE', key('video:tenants'), tenant) or '0') > most
    or tonumber(redis.call('GET', key('video:total')) or '0') > budget
end
