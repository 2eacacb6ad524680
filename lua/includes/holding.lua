-- What commands that hold share: the rules of a line, what expires to make room, deadlines, replays.
-- They define load_sweep() first: it makes the sweep, which most calls do without.
local DEFAULT_TTL_MS = tonumber(ARGV[2])
local N = tonumber(ARGV[3])

-- What every line of the SKU has in common. refusal: the code that refuses all of them.
local function open_sku(sku)
  local s = get_sku(sku)
  if not s then
    return false
  end
  local kept = settings_of(s)
  s.line = sku .. '*'
  s.mark = ''
  if s.broken or not kept then
    s.refusal, s.refusal_a = s.settings == CLOSED and REBUILDING or INVARIANT_BREACH, 0
  elseif NOW < kept.sale_starts_ms then
    s.refusal, s.refusal_a = SALE_NOT_OPEN, kept.sale_starts_ms
  elseif kept.sale_ends_ms > 0 and NOW >= kept.sale_ends_ms then
    s.refusal, s.refusal_a = SALE_NOT_OPEN, -kept.sale_ends_ms
  elseif kept.buyer_limit > 0 then
    s.limit, s.mark = kept.buyer_limit, '*1' -- the mark of lines that count
    s.asked, s.asked_n, s.count_writes = {}, 0, {}
  end
  s.ttl = kept and kept.hold_ttl_ms or 0
  return s
end

local sweep_more, trim -- made when something is short
local nothing_due = false

-- Expires some of what is due; false when nothing more is, nil when more may be.
local function find_more()
  if nothing_due then
    return false
  end
  if not sweep_more then
    sweep_more, trim = load_sweep()
  end
  local more = sweep_more()
  nothing_due = more == false
  return more
end

-- The refusal of a buyer who has too much, unless an expired hold of theirs is what is too much.
local function refuse_buyer(s, buyer, quantity)
  while get_count(s, buyer) + quantity > s.limit do
    local more = find_more()
    if not more then
      return more == nil and quantity <= s.limit and MORE_DUE or BUYER_LIMIT, s.limit
    end
  end
  return nil
end

-- The refusal for lack of units, unless there are enough once what is due has expired.
local function refuse_shortage(s, quantity)
  while s.available < quantity do
    local more = find_more()
    if not more then
      local maybe = more == nil and s.available + s.held >= quantity
      return maybe and MORE_DUE or SOLD_OUT, s.available
    end
  end
  return nil
end

-- nil when `quantity` units of the SKU may be held for the buyer, else code and a.
local function refuse_line(s, buyer, quantity)
  if not s then
    return UNKNOWN_SKU, 0
  end
  if s.refusal then
    return s.refusal, s.refusal_a
  end
  if s.limit > 0 and s.counts[buyer] + quantity > s.limit then
    local code, a = refuse_buyer(s, buyer, quantity)
    if code then
      return code, a
    end
  end
  if s.available < quantity then
    return refuse_shortage(s, quantity)
  end
  return nil
end

-- Deadlines of a batch differ only by ttl: ttl -> { deadline ms, due list, head of the record }.
local terms_of_ttl = {}

local function open_ttl(ttl)
  local at = NOW + ttl
  local head = string.format('h|%.0f|%.0f|', NOW, at)
  local terms = { at = at, list = due_list(at), head = head }
  terms_of_ttl[ttl] = terms
  return terms
end

local function replay(text, middle)
  if string.match(text, '^%a|%d+|%d+|([^|]*)|') == string.match(middle, '^[^|]*') then
    return REPLAYED, text
  end
  return IDEMPOTENCY_MISMATCH, 0
end
