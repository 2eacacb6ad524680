-- Holds units for a batch of reservation requests of one shard, each all or nothing.
-- Everything is checked in memory first (idempotency, window, buyer limit, availability);
-- then all that was granted is written. A request never affects its neighbours' checks
-- except by the units it takes.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] default hold ttl, ms
--   ARGV[3] n, requests in the batch (1..4096)
--   ARGV[4..3+n] field of each request (hash of caller and Idempotency-Key)
--   then per request: the middle of its record ('fingerprint|buyer|channel||'), buyer, ttl ms
--   (0: the SKU's), number of lines, and per line: sku, quantity (units)
-- Returns: flat array: now ms, n times (code, a, b), then the terms of each SKU touched
--   HELD: a = deadline ms; REPLAYED: a = record;
--   refusals: b = 0-based line; SOLD_OUT: a = available units; BUYER_LIMIT: a = limit units;
--   SALE_NOT_OPEN: a = opening ms, or minus the closing ms once it is over
--   MORE_DUE: more holds are due than one call expires; ask again
--@include codes
--@include transitions
--@include shard
--@include stock
--@include records
--@include deadlines
--@include moves
--@include sweep

local DEFAULT_TTL_MS = tonumber(ARGV[2])
local N = tonumber(ARGV[3])
local SWEEP_MAX = 256 -- due reservations a batch may expire
local NOW_TEXT = string.format('%.0f', NOW)

local known = redis.call('HMGET', RESERVATIONS, unpack(ARGV, 4, 3 + N))

-- Pass 1: read every SKU once, and every count that a limit asks for.
local function read_counts(s, buyers, n)
  for first = 1, n, 2000 do
    local last = math.min(first + 1999, n)
    local counts = redis.call('HMGET', PREFIX .. 'buyers:' .. s.sku, unpack(buyers, first, last))
    for i = first, last do
      s.counts[buyers[i]] = tonumber(counts[i - first + 1] or 0) or 0
    end
  end
end

local function read_batch()
  local limited = {} -- terms whose `asked` lists the buyers to be counted
  local p = 4 + N
  for _ = 1, N do
    local buyer, lines = ARGV[p + 1], ARGV[p + 3]
    p = p + 4
    for _ = 1, lines do
      local s = get_sku(ARGV[p])
      if s and s.buyer_limit > 0 then
        local n = (s.asked_n or 0) + 1
        if n == 1 then
          s.asked = {}
          limited[#limited + 1] = s
        end
        s.asked[n], s.asked_n = buyer, n
      end
      p = p + 2
    end
  end
  for _, s in ipairs(limited) do
    read_counts(s, s.asked, s.asked_n)
  end
end

-- Whether `quantity` can be had; expires what is due before it says no. nil: more may be due
-- than one script expires.
local function has_units(s, quantity)
  while s.available < quantity do
    if swept >= SWEEP_MAX then
      if s.available + s.held < quantity then
        return false
      end
      return nil
    end
    if not sweep(64) then
      return false
    end
  end
  return true
end

-- Whether the buyer may have `quantity` more; an expired hold of theirs may be what is too much.
local function is_allowed(s, buyer, quantity)
  while get_count(s, buyer) + quantity > s.buyer_limit do
    if swept >= SWEEP_MAX then
      if quantity > s.buyer_limit then
        return false
      end
      return nil
    end
    if not sweep(64) then
      return false
    end
  end
  return true
end

-- nil when `quantity` units of the SKU may be held for the buyer, else code and a.
local function refuse_line(s, buyer, quantity)
  if not s then
    return UNKNOWN_SKU, 0
  end
  if s.broken then
    return INVARIANT_BREACH, 0
  end
  if NOW < s.sale_starts_ms then
    return SALE_NOT_OPEN, s.sale_starts_ms
  end
  if s.sale_ends_ms > 0 and NOW >= s.sale_ends_ms then
    return SALE_NOT_OPEN, -s.sale_ends_ms
  end
  if s.buyer_limit > 0 then
    local allowed = is_allowed(s, buyer, quantity)
    if not allowed then
      return allowed == nil and MORE_DUE or BUYER_LIMIT, s.buyer_limit
    end
  end
  local enough = has_units(s, quantity)
  if not enough then
    return enough == nil and MORE_DUE or SOLD_OUT, s.available
  end
  return nil
end

-- Takes the units. The quantity's text is handed on with it: turning numbers into strings is the
-- dearest thing a script does.
local function take_line(s, buyer, quantity)
  s.available = s.available - quantity
  s.held = s.held + quantity
  s.dirty = true
  if s.buyer_limit > 0 then
    set_count(s, buyer, s.counts[buyer] + quantity)
  end
end

-- Deadlines of a batch differ only by ttl: ttl -> { deadline ms, due list, head of the record }.
local terms_of_ttl = {}

local function get_deadline(ttl)
  local d = terms_of_ttl[ttl]
  if not d then
    local at = NOW + ttl
    d = { at = at, list = due_list(at),
      head = 'h|' .. NOW_TEXT .. '|' .. string.format('%.0f', at) .. '|' }
    terms_of_ttl[ttl] = d
  end
  return d
end

local function stage_hold(field, d, text)
  stage_record(field, text)
  add_field(d.list, field)
  return HELD, d.at, 0
end

local function effective_ttl(asked, shortest_ms)
  if asked ~= '0' then
    return tonumber(asked)
  end
  if shortest_ms > 0 then
    return shortest_ms
  end
  return DEFAULT_TTL_MS
end

-- The common case: one line.
local function hold_one(field, middle, buyer, ttl, p)
  local s, text = skus[ARGV[p]], ARGV[p + 1]
  local quantity = tonumber(text)
  local code, a = refuse_line(s, buyer, quantity)
  if code then
    return code, a, 0
  end
  take_line(s, buyer, quantity)
  local d = get_deadline(effective_ttl(ttl, s.hold_ttl_ms))
  return stage_hold(field, d, d.head .. middle .. s.sku .. '*' .. text .. s.mark)
end

-- Several lines: those of one SKU are summed first, under the first one's index.
local function sum_lines(p, lines)
  local sums, by_sku = {}, {}
  for i = 0, lines - 1 do
    local sku, quantity = ARGV[p + 2 * i], tonumber(ARGV[p + 2 * i + 1])
    local sum = by_sku[sku]
    if sum then
      sum.quantity = sum.quantity + quantity
    else
      sum = { sku = sku, quantity = quantity, index = i }
      by_sku[sku] = sum
      sums[#sums + 1] = sum
    end
  end
  return sums
end

local function hold_many(field, middle, buyer, ttl, p, lines)
  local sums = sum_lines(p, lines)
  local shortest = 0
  for _, sum in ipairs(sums) do
    local s = skus[sum.sku]
    local code, a = refuse_line(s, buyer, sum.quantity)
    if code then
      return code, a, sum.index
    end
    if s.hold_ttl_ms > 0 and (shortest == 0 or s.hold_ttl_ms < shortest) then
      shortest = s.hold_ttl_ms
    end
  end
  local texts = {}
  for i, sum in ipairs(sums) do
    local s = skus[sum.sku]
    take_line(s, buyer, sum.quantity)
    texts[i] = s.sku .. '*' .. string.format('%.0f', sum.quantity) .. s.mark
  end
  local d = get_deadline(effective_ttl(ttl, shortest))
  return stage_hold(field, d, d.head .. middle .. table.concat(texts, ','))
end

local function replay(text, middle)
  if string.match(text, '^%a|%d+|%d+|([^|]*)|') == string.match(middle, '^[^|]*') then
    return REPLAYED, text, 0
  end
  return IDEMPOTENCY_MISMATCH, 0, 0
end

read_batch()

local reply = { NOW }
local n, p = 1, 4 + N
for i = 1, N do
  local field, middle, buyer = ARGV[3 + i], ARGV[p], ARGV[p + 1]
  local ttl, lines = ARGV[p + 2], ARGV[p + 3]
  p = p + 4
  local before = fresh[field] or known[i]
  local code, a, b
  if before then
    code, a, b = replay(before, middle)
  elseif lines == '1' then
    code, a, b = hold_one(field, middle, buyer, ttl, p)
  else
    code, a, b = hold_many(field, middle, buyer, ttl, p, tonumber(lines))
  end
  p = p + 2 * lines
  reply[n + 1], reply[n + 2], reply[n + 3] = code, a, b
  n = n + 3
end

local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
trim_swept()
return append_skus(reply)
