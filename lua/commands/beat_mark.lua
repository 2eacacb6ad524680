-- Raises the beats of a shard's mark, unless the mark is not the one that is known.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] generation that is known
--   ARGV[3] highest number of beats that is known
-- Returns: flat array: now ms, generation or '', number of beats, token of a rebuild that is
--   going on or ''
--@include shard

local MARK = PREFIX .. 'marker'
local generation, beats, rebuild = unpack(call('HMGET', MARK, 'generation', 'beats', 'rebuild'))
beats = tonumber(beats or 0) or 0
if generation == ARGV[2] and beats >= tonumber(ARGV[3]) then
  beats = call('HINCRBY', MARK, 'beats', 1)
end
return { NOW, generation or '', beats, rebuild or '' }
