-- Confirms paid reservations and appends each to the outbox, in one step.
-- Late payment: an expired reservation is honoured from available, then from safety_stock,
-- all its lines or none. A late payment that was refused once stays refused.
--
-- KEYS:
--   KEYS[1] reservations hash of the shard
--   KEYS[2] outbox stream of the shard
-- ARGV:
--   ARGV[1] clock override, ms since the epoch (0: Redis's clock)
--   ARGV[2] n, items in the batch (1..4096)
--   then per item: field, created ms, payment reference
-- Returns: flat array: now ms, n times (code, record or ''), then the terms of SKUs touched
--   MORE_DUE: more holds are due than one call expires; ask again
--@include codes
--@include transitions
--@include shard
--@include stock
--@include records
--@include deadlines
--@include moves
--@include sweep
--@include act

local OUTBOX = KEYS[2]
local SWEEP_MAX = 256 -- due reservations a batch may expire
local outbox_adds = {}

local function move_held(r)
  for _, line in ipairs(r.lines) do
    local s = get_sku(line.sku)
    s.held = s.held - line.quantity
    s.unsettled = s.unsettled + line.quantity
    s.dirty = true
  end
end

-- Whether units are left for a late payment; nil: more holds may be due than one script expires.
local function can_honour(r)
  for _, line in ipairs(r.lines) do
    local s = get_sku(line.sku)
    while s.available < line.quantity and s.held > 0 do
      if swept >= SWEEP_MAX then
        return nil
      end
      if not sweep(64) then
        break
      end
    end
    if s.available + s.safety_stock < line.quantity then
      return false
    end
  end
  return true
end

local function take_late(r)
  for _, line in ipairs(r.lines) do
    local s = get_sku(line.sku)
    local from_available = math.min(s.available, line.quantity)
    line.from_safety = line.quantity - from_available
    s.available = s.available - from_available
    s.safety_stock = s.safety_stock - line.from_safety
    s.unsettled = s.unsettled + line.quantity
    s.dirty = true
    if line.counted then
      add_count(s, r.buyer, line.quantity)
    end
  end
end

-- nil when the late payment is honoured. A refusal is final: the shop refunds, so units that
-- return later are not for this reservation; its record keeps the reference as a mark of it.
local function refuse_late(field, r, ref)
  if r.ref ~= '' then
    return IS_EXPIRED
  end
  local honoured = can_honour(r)
  if honoured == nil then
    return MORE_DUE
  end
  if not honoured then
    r.ref = ref
    stage_record(field, format_record(r))
    return IS_EXPIRED
  end
  return nil
end

local function confirm(field, r, ref, rule)
  if rule == UNCHANGED then
    return r.ref == ref and UNCHANGED or PAYMENT_REF_CONFLICT
  end
  if type(rule) == 'number' then
    return rule
  end
  if not lines_are_sound(r, r.state ~= 'x' and 'held') then
    return INVARIANT_BREACH
  end
  if r.state ~= 'x' then
    move_held(r)
  else
    local refusal = refuse_late(field, r, ref)
    if refusal then
      return refusal
    end
    take_late(r)
  end
  r.state = rule
  r.ref = ref
  local text = format_record(r)
  stage_record(field, text)
  outbox_adds[#outbox_adds + 1] = field .. '|' .. text
  return DONE
end

local reply = act('confirm', confirm)
local breach = commit()
if breach then
  return redis.error_reply('INVARIANT ' .. breach)
end
trim_swept()
for i = 1, #outbox_adds do
  redis.call('XADD', OUTBOX, '*', 'r', outbox_adds[i])
end
return append_skus(reply)
