-- Beyond the budget a note is kept all the same: it is small.
local tenant, id, note = unpack(ARGV, 4, 6)
if not is_there(tenant, id) then return 0 end
redis.call('HSET', session_key(tenant, id), 'note', note)
weigh_session(tenant, id, bytes_of(tenant, id))
used_session(tenant, id)
return 1
