-- What a script is going to write: records and reminders. Everything is in memory until commit();
-- commit() asserts first and writes after.
--
-- Reminders: fields in lists of 100 ms, and a sorted set of the lists that exist. An entry is only
-- a reminder, one a hold: the record's own deadline decides. Ending a reservation leaves its entry
-- to be dropped when its list comes due; a deadline only moves later, so one that moved is found
-- then, and listed again.
local DUE_STEP_MS = 100
local ENDED_STEP_MS = 60000

local record_writes = {} -- field, record, field, record ...
local record_writes_n = 0
local fresh = {}     -- field -> record written by this script
local due_adds = {}  -- bucket -> fields
local ended_adds = { n = 0 } -- fields that ended in this script

local function stage_record(field, text)
  local n = record_writes_n
  record_writes[n + 1], record_writes[n + 2] = field, text
  record_writes_n = n + 2
  fresh[field] = text
end

-- The fields this script adds to the list in which `deadline` falls.
local function due_list(deadline)
  local bucket = math.ceil(deadline / DUE_STEP_MS)
  local fields = due_adds[bucket]
  if not fields then
    fields = { n = 0 }
    due_adds[bucket] = fields
  end
  return fields
end

local function add_field(fields, field)
  local n = fields.n + 1
  fields[n], fields.n = field, n
end

local function push_bucket(index, bucket, fields)
  local name = string.format('%.0f', bucket)
  local length = call_in_pieces('RPUSH', PREFIX .. index .. ':' .. name, fields, fields.n)
  if length == fields.n then -- a new list
    call('ZADD', PREFIX .. index, name, name)
  end
end

-- Writes everything staged, or nothing: returns the SKU that would break the invariant.
local function commit()
  local breach = find_breach()
  if breach then
    return breach
  end
  write_skus()
  if record_writes_n > 0 then
    call_in_pieces('HSET', RESERVATIONS, record_writes, record_writes_n)
  end
  for bucket, fields in pairs(due_adds) do
    if fields.n > 0 then
      push_bucket('due', bucket, fields)
    end
  end
  if ended_adds.n > 0 then
    push_bucket('ended', math.ceil(NOW / ENDED_STEP_MS), ended_adds)
  end
  return nil
end
