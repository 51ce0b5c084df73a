end_idle_sessions()
return {redis.call('ZCARD', key('video:ends')), tonumber(redis.call('GET', key('video:total')) or '0')}
