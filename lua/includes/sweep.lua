-- Expires what is due, a bounded number at a time, as part of the calling script.
local SWEEP_MAX = 256 -- due reservations a script of requests may expire
local DUE_PAGE = 16
local swept_lists = {} -- { name, taken, whole } to be trimmed after commit
local swept = 0        -- reservations looked at
local expired = 0      -- reservations expired
local stuck = 0        -- due reservations left alone: a SKU of theirs, or their record, is unsound
local due_names = {}   -- lists that are due, oldest first, as far as they were asked for
local due_asked = 0
local due_at = 1

-- The list to be swept now; nil when nothing more is due.
local function current_list()
  if due_at > due_asked then
    local names = call('ZRANGEBYSCORE', PREFIX .. 'due', '-inf',
      math.floor(NOW / DUE_STEP_MS), 'LIMIT', due_asked, DUE_PAGE)
    for i, name in ipairs(names) do
      due_names[due_asked + i] = name
    end
    due_asked = due_asked + DUE_PAGE
  end
  return due_names[due_at]
end

local function sweep_record(field, text)
  local r = parse_record(text)
  if r and not is_due(r) then
    if type(EXPIRE_RULES[r.state]) == 'string' then
      add_field(due_list(r.deadline), field) -- its deadline has moved
    end
    return
  end
  if r and expire(field, r) then
    expired = expired + 1
  elseif r and unsound_code(r) == REBUILDING then
    add_field(due_list(NOW + 1000), field)
  else
    stuck = stuck + 1
    add_field(due_list(NOW + 60000), field) -- looked at again in a minute, never forgotten
  end
end

-- How many of the fields were looked at: as many as their lines allow.
local function sweep_fields(fields)
  local records = call('HMGET', RESERVATIONS, unpack(fields))
  for i, field in ipairs(fields) do
    if moved_lines >= LINES_MAX then
      return i - 1
    end
    local text = fresh[field] or records[i]
    if text then
      sweep_record(field, text)
    end
  end
  return #fields
end

-- Sweeps up to `limit` more entries of one list; false when nothing more is due, nil when this
-- script, which may sweep `most` in all, has done its share.
local function sweep(limit, most)
  limit = math.min(limit, most - swept)
  if limit <= 0 or moved_lines >= LINES_MAX then
    return nil
  end
  local list = current_list()
  if not list then
    return false
  end
  local mark = swept_lists[due_at]
  local first = mark and mark.taken or 0
  local fields = call('LRANGE', PREFIX .. 'due:' .. list, first, first + limit - 1)
  local taken = #fields > 0 and sweep_fields(fields) or 0
  local whole = taken == #fields and taken < limit
  swept_lists[due_at] = { name = list, taken = first + taken, whole = whole }
  swept = swept + taken
  if whole then
    due_at = due_at + 1
  end
  return true
end

-- Forgets the reminders that were looked at. Only after commit() returned nil.
local function trim_swept()
  for _, mark in ipairs(swept_lists) do
    local key = PREFIX .. 'due:' .. mark.name
    if mark.whole then
      call('DEL', key)
      call('ZREM', PREFIX .. 'due', mark.name)
    else
      call('LTRIM', key, mark.taken, -1)
    end
  end
end
