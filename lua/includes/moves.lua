-- How units move between the terms of the invariant when a reservation changes state.
local LINES_MAX = 512 -- lines one script moves before it leaves the rest to the next
local moved_lines = 0

-- Whether every SKU of the reservation exists, adds up, and has the reservation's units in
-- `term`, which they are about to leave (nil: they come from wherever there are some).
local function lines_are_sound(r, term)
  moved_lines = moved_lines + r.n / 4
  for i = 1, r.n, 4 do
    local s = get_sku(r[i])
    if not s or s.broken or (term and s[term] < r[i + 1]) then
      return false
    end
  end
  return true
end

-- Why the reservation cannot be moved: a SKU of it is being rebuilt, or does not add up.
local function unsound_code(r)
  for i = 1, r.n, 4 do
    local s = skus[r[i]]
    if s and s.settings == CLOSED then
      return REBUILDING
    end
  end
  return INVARIANT_BREACH
end

local function add_count(s, buyer, delta)
  local count = get_count(s, buyer) + delta
  set_count(s, buyer, count, count_text(count))
end

-- Moves the reservation's units from one term to another, and its buyer's counts by -1 (they no
-- longer count), 0 or 1.
local function move_units(r, from, to, counting)
  for i = 1, r.n, 4 do
    local s, quantity = skus[r[i]], r[i + 1]
    s[from] = s[from] - quantity
    s[to] = s[to] + quantity
    s.dirty = true
    if counting ~= 0 and r[i + 2] then
      add_count(s, r.buyer, counting * quantity)
    end
  end
end

-- Ends a hold by its release or expiry: held -> available.
local function give_back(field, r, state)
  move_units(r, 'held', 'available', -1)
  stage_record(field, with_state(r, state))
  add_field(ended_adds, field)
end

-- Expires a reservation whose deadline passed; false when a SKU of it is unsound.
local function expire(field, r)
  if not lines_are_sound(r, 'held') then
    return false
  end
  give_back(field, r, EXPIRE_RULES[r.state])
  return true
end

local function is_due(r)
  return r.deadline <= NOW and type(EXPIRE_RULES[r.state]) == 'string'
end
