-- Rotates over the bodies of a file (one a line) and ends by printing one line of JSON.
-- A line may begin with the path that it goes to, and a tab; else it goes to that of the URL.
-- Arguments after `--`: the file; a file with what every answer must have in it, one a line and in
-- that order, or `-`; then headers as "Name: value". An answer that lacks any of it is `wrong`.

local requests = {}
local expected = {}
local at = 0
local threads = {}
wrong = 0

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  wrk.method = "POST"
  for i = 3, #args do
    local name, value = args[i]:match("^([^:]+):%s*(.*)$")
    wrk.headers[name] = value
  end
  for line in io.lines(args[1]) do
    local path, body = line:match("^(/[^\t]*)\t(.*)$")
    requests[#requests + 1] = wrk.format(nil, path, nil, body or line)
  end
  if args[2] ~= "-" then
    for line in io.lines(args[2]) do
      expected[#expected + 1] = line
    end
    -- Only if it is there does wrk keep bodies for it.
    response = check
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function check(_, _, body)
  local from = 1
  for i = 1, #expected do
    local first, last = body:find(expected[i], from, true)
    if not first then
      wrong = wrong + 1
      return
    end
    from = last + 1
  end
end

function done(summary, latency, _)
  local errors = summary.errors
  local all_wrong = 0
  for _, thread in ipairs(threads) do
    all_wrong = all_wrong + thread:get("wrong")
  end
  io.write(string.format(
    '{"requests": %d, "duration_us": %d, "p50_us": %.1f, "p99_us": %.1f, "wrong": %d, '
      .. '"status": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), all_wrong,
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
