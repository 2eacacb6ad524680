-- Holds units for a batch of requests that all want one line of the same SKU for as long as the
-- SKU's holds last: what a flash sale consists of. As hold does, request by request, with the
-- arguments in columns so that Redis's commands take them as they are.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] default hold ttl, ms
--   ARGV[3] n, requests in the batch (1..4096)
--   ARGV[4] sku
--   then four columns of n values: field (hash of caller and Idempotency-Key), buyer, the middle
--   of the record ('fingerprint|buyer|channel||'), quantity (units)
-- Returns: flat array: now ms, n times (code, a), then the SKU's terms; code and a as of hold
--@include codes
--@rules expire
--@include shard
--@include stock
--@include settings
--@include writes

local function load_sweep()
--@include records
--@include moves
--@include sweep
  return function() return sweep(64, SWEEP_MAX) end, trim_swept
end
--@include holding

local FIELDS, BUYERS, MIDDLES, QUANTITIES = 4, 4 + N, 4 + 2 * N, 4 + 3 * N -- before the first

local known = call('HMGET', RESERVATIONS, unpack(ARGS, FIELDS + 1, FIELDS + N))
local s = open_sku(ARGS[4])
local limit = s and s.limit or 0
local kept, counts, writes -- of the buyers, where they are limited
if limit > 0 then
  kept = call('HMGET', PREFIX .. 'buyers:' .. s.sku, unpack(ARGS, BUYERS + 1, BUYERS + N))
  counts, writes = {}, s.count_writes
  s.counts = counts
end

local reply = { NOW }
local terms, head, line, mark, due
if s then
  local ttl = s.ttl > 0 and s.ttl or DEFAULT_TTL_MS
  terms, line, mark = open_ttl(ttl), s.line, s.mark
  head, due = terms.head, terms.list
end

for i = 1, N do
  local field = ARGS[FIELDS + i]
  local before = fresh[field] or known[i]
  local code, a
  if before then
    code, a = replay(before, ARGS[MIDDLES + i])
  else
    local buyer, text = ARGS[BUYERS + i], ARGS[QUANTITIES + i]
    local quantity = tonumber(text)
    local count = 0
    if limit > 0 then
      count = counts[buyer]
      if not count then
        count = kept[i] and tonumber(kept[i]) or 0
        counts[buyer] = count
      end
    end
    if not s or s.refusal or s.available < quantity or (limit > 0 and count + quantity > limit) then
      code, a = refuse_line(s, buyer, quantity)
      count = limit > 0 and counts[buyer] or 0 -- it may be less now
    end
    if not code then
      s.available = s.available - quantity
      s.held = s.held + quantity
      if limit > 0 then
        count = count + quantity
        counts[buyer] = count
        local n = s.count_writes_n
        writes[n + 1], writes[n + 2] = buyer, count == quantity and text or count_text(count)
        s.count_writes_n = n + 2
        if s.gone then
          s.gone[buyer] = nil
        end
      end
      stage_record(field, head .. ARGS[MIDDLES + i] .. line .. text .. mark)
      add_field(due, field)
      code, a = HELD, terms.at
    end
  end
  reply[2 * i], reply[2 * i + 1] = code, a
end

if terms and due.n > 0 then
  s.dirty = true
end
local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
if trim then
  trim()
end
return append_skus(reply)
