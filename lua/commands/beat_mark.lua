-- Raises the beats of a shard's mark, unless the mark is not the one that is known.
--
-- KEYS:
--   KEYS[1] mark of the shard
-- ARGV:
--   ARGV[1] generation that is known
--   ARGV[2] highest number of beats that is known
-- Returns: flat array: generation or '', number of beats, token of a rebuild that is going on or ''

local MARK = KEYS[1]
local generation, beats, rebuild = unpack(redis.call('HMGET', MARK, 'generation', 'beats', 'rebuild'))
beats = tonumber(beats or 0) or 0
if generation == ARGV[1] and beats >= tonumber(ARGV[2]) then
  beats = redis.call('HINCRBY', MARK, 'beats', 1)
end
return { generation or '', beats, rebuild or '' }
