-- The session that has a name, and its note.
local tenant, name = unpack(ARGV, 4, 5)
local id = redis.call('HGET', key('video:named:' .. tenant), name)
if not id or not is_there(tenant, id) then return false end
return {id, redis.call('HGET', session_key(tenant, id), 'note') or ''}
