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
--   then per request: the middle of its record ('fingerprint|buyer|channel||'), buyer, shape
--   ('ttl ms:number of lines'; ttl 0: the SKU's; '' is '0:1'), and per line: sku, quantity (units)
-- Returns: flat array: now ms, n times (code + 64 * line, a), then the terms of each SKU touched
--   HELD: a = deadline ms; REPLAYED: a = record;
--   line: of a refusal, 0-based, else 0; SOLD_OUT: a = available units;
--   BUYER_LIMIT: a = limit units;
--   SALE_NOT_OPEN: a = opening ms, or minus the closing ms once it is over
--   MORE_DUE: more holds are due than one call expires; ask again
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

local FIRST = 4 + N -- where the requests begin
local LINE_STEP = 64 -- what one line adds to a code

local known = call('HMGET', RESERVATIONS, unpack(ARGS, 4, 3 + N))

-- How a request is shaped: { lines, ttl ms }.
local shapes = { [''] = { 1, 0 } }

local function shape_of(text)
  local ttl, lines = string.match(text, '^(%d+):(%d+)$')
  local shape = { tonumber(lines), tonumber(ttl) }
  shapes[text] = shape
  return shape
end

local function read_counts(s)
  local counts, buyers, n = {}, s.asked, s.asked_n
  for first = 1, n, 2000 do
    local last = math.min(first + 1999, n)
    local kept = call('HMGET', PREFIX .. 'buyers:' .. s.sku, unpack(buyers, first, last))
    for i = first, last do
      local count = kept[i - first + 1]
      counts[buyers[i]] = count and tonumber(count) or 0
    end
  end
  s.counts = counts
end

-- Pass 1: every SKU once, and every count that a limit asks for.
local function read_batch()
  local p = FIRST
  for _ = 1, N do
    local buyer, shape = ARGS[p + 1], shapes[ARGS[p + 2]] or shape_of(ARGS[p + 2])
    p = p + 3
    for _ = 1, shape[1] do
      local sku = ARGS[p]
      local s = skus[sku]
      if s == nil then
        s = open_sku(sku)
      end
      if s and s.limit > 0 then
        local n = s.asked_n + 1
        s.asked[n], s.asked_n = buyer, n
      end
      p = p + 2
    end
  end
  for i = 1, #sku_order do
    if sku_order[i].limit > 0 then
      read_counts(sku_order[i])
    end
  end
end

-- Takes the units. The quantity's text is handed on with it: turning numbers into strings is the
-- dearest thing a script does.
local function take_line(s, buyer, quantity, text)
  s.available = s.available - quantity
  s.held = s.held + quantity
  s.dirty = true
  if s.limit > 0 then
    local counts, n, writes = s.counts, s.count_writes_n, s.count_writes
    local count = counts[buyer] + quantity
    counts[buyer] = count
    writes[n + 1], writes[n + 2] = buyer, count == quantity and text or count_text(count)
    s.count_writes_n = n + 2
    if s.gone then
      s.gone[buyer] = nil
    end
  end
end

-- The common case: one line.
local function hold_one(field, middle, buyer, ttl, p)
  local s, text = skus[ARGS[p]], ARGS[p + 1]
  local quantity = tonumber(text)
  local code, a = refuse_line(s, buyer, quantity)
  if code then
    return code, a
  end
  take_line(s, buyer, quantity, text)
  if ttl == 0 then
    ttl = s.ttl > 0 and s.ttl or DEFAULT_TTL_MS
  end
  local terms = terms_of_ttl[ttl] or open_ttl(ttl)
  stage_record(field, terms.head .. middle .. s.line .. text .. s.mark)
  add_field(terms.list, field)
  return HELD, terms.at
end

-- Several lines: those of one SKU are summed first, under the first one's index. The cart of the
-- request in hand, one place a SKU: terms (false: unknown), units, their text, index.
local cart, cart_sums, cart_texts, cart_at = {}, {}, {}, {}

local function fill_cart(p, lines)
  local n = 0
  for i = 0, lines - 1 do
    local s, text = skus[ARGS[p + 2 * i]], ARGS[p + 2 * i + 1]
    if s and s.cart == p then -- it has a place in this cart
      local place = s.place
      cart_sums[place] = cart_sums[place] + text
      cart_texts[place] = string.format('%.0f', cart_sums[place])
    else
      n = n + 1
      cart[n], cart_sums[n], cart_texts[n], cart_at[n] = s, tonumber(text), text, i
      if s then
        s.cart, s.place = p, n
      end
    end
  end
  return n
end

local function hold_many(field, middle, buyer, ttl, p, lines)
  local n = fill_cart(p, lines)
  local shortest = 0
  for i = 1, n do
    local s = cart[i]
    local code, a = refuse_line(s, buyer, cart_sums[i])
    if code then
      return code + LINE_STEP * cart_at[i], a
    end
    if s.ttl > 0 and (shortest == 0 or s.ttl < shortest) then
      shortest = s.ttl
    end
  end
  for i = 1, n do
    local s, text = cart[i], cart_texts[i]
    take_line(s, buyer, cart_sums[i], text)
    cart_texts[i] = s.line .. text .. s.mark
  end
  if ttl == 0 then
    ttl = shortest > 0 and shortest or DEFAULT_TTL_MS
  end
  local terms = terms_of_ttl[ttl] or open_ttl(ttl)
  stage_record(field, terms.head .. middle .. table.concat(cart_texts, ',', 1, n))
  add_field(terms.list, field)
  return HELD, terms.at
end

read_batch()

local reply = { NOW }
local n, p = 1, FIRST
for i = 1, N do
  local field, middle, buyer = ARGS[3 + i], ARGS[p], ARGS[p + 1]
  local shape = shapes[ARGS[p + 2]]
  p = p + 3
  local lines = shape[1]
  local before = fresh[field] or known[i]
  local code, a
  if before then
    code, a = replay(before, middle)
  elseif lines == 1 then
    code, a = hold_one(field, middle, buyer, shape[2], p)
  else
    code, a = hold_many(field, middle, buyer, shape[2], p, lines)
  end
  p = p + 2 * lines
  reply[n + 1], reply[n + 2] = code, a
  n = n + 2
end

local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
if trim then
  trim()
end
return append_skus(reply)
