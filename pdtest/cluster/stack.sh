#!/usr/bin/env bash
# Starts, tests and stops members in the background: one log file and one pid file each, below members/.
# What they are is in members.sh, how each one is started in start-<member>.sh.
set -u

usage() {
  cat <<END
usage: ./stack.sh COMMAND [--host HOST] [MEMBER...]     (no MEMBER: all)

  start    start in the background, wait until all answer; ./start-all.sh is the same
  stop     end what start has started, with all that belongs to it; ./stop-all.sh is the same
  status   who runs, who answers, and where; exit code 1 unless all do
  test     ask the proxy for a few tokens, or each engine where there is no proxy
  config   show how the members are started
  logs     follow the log files

members of $environment: ${members[*]:-none}${attached[*]:+; they run already: ${attached[*]}}
To have one in this terminal: ./start-<member>.sh
END
}

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

log_of() { printf '%s/members/%s/%s.log' "$directory" "$1" "$1"; }
pid_file_of() { printf '%s/members/%s/%s.pid' "$directory" "$1" "$1"; }

# When a process was started, in the kernel's ticks; nothing for one that is gone or a zombie.
started_at() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  read -r -a stat <<<"${stat##*) }" # the name before may contain blanks
  [[ ${stat[0]} != Z ]] && printf '%s' "${stat[19]}"
}

# Whether a member that start has started lives, or anything that belongs to it; sets pid. A number that the
# kernel has given to another process since then is not ours: that one was started at another time.
lives() {
  local since now
  pid=
  [[ -s $(pid_file_of "$1") ]] || return 1
  read -r pid since <"$(pid_file_of "$1")"
  if now=$(started_at "$pid"); then
    [[ $now == "$since" ]]
  else
    [[ -n $(group_of "$pid") ]]
  fi
}

# The living processes of a group. For one whose leader has ended: zombies do not count.
group_of() {
  local stat fields
  for stat in /proc/[0-9]*/stat; do
    stat=$(cat "$stat" 2>/dev/null) || continue
    read -r -a fields <<<"${stat##*) }"
    [[ ${fields[2]} == "$1" && ${fields[0]} != Z ]] && printf '%s ' "${stat%% *}"
  done
}

# Whether somebody listens there.
listens() { timeout 2 bash -c 'exec 3<>"/dev/tcp/$1/$2"' _ "$1" "$2" 2>/dev/null; }

# Splits an URL: sets address, port, path.
split() {
  local rest=${1#*://}
  path=/${rest#*/}
  [[ $rest == */* ]] || path=/
  rest=${rest%%/*}
  port=${rest##*:}
  address=${rest%:*}
  [[ $rest == *:* && $rest != *] ]] || { address=$rest port=80; [[ $1 == https:* ]] && port=443; }
  address=${address#[} address=${address%]}
}

# The HTTP status of an URL, by curl where there is one. A key goes by standard input: command lines are public.
status_of() {
  local header=
  [[ -z $2 ]] || header="Authorization: Bearer ${!2-}"
  if command -v curl >/dev/null; then
    printf '%s' "${header:+header = \"$header\"}" |
      curl --config - --silent --output /dev/null --max-time 2 --noproxy '*' --write-out '%{http_code}' "$1"
    return
  fi
  split "$1"
  HEADER=${header:+$header$'\r\n'} timeout 2 bash -c '
    exec 3<>"/dev/tcp/$1/$2" &&
      printf "GET %s HTTP/1.0\r\nHost: %s\r\n%s\r\n" "$3" "$1" "$HEADER" >&3 &&
      read -r _ status _ <&3 && printf %s "$status"' _ "$address" "$port" "$path" 2>/dev/null
}

# Whether a member answers its readiness probe; sets seen to what came instead.
answers() {
  local wanted
  if [[ ${probe[$1]} != http* ]]; then
    split "${probe[$1]}"
    seen="nobody listens at $address:$port"
    listens "$address" "$port"
    return
  fi
  seen=$(status_of "${probe[$1]}" "${key[$1]-}")
  for wanted in ${accept[$1]}; do
    [[ $seen == "$wanted" ]] && return
  done
  [[ $seen == 000 || -z $seen ]] && seen='no answer' || seen="HTTP $seen"
  return 1
}

# What is asked for but cannot be: sets wanted to the members that are meant.
choose() {
  local name only= known=()
  wanted=()
  while (($#)); do
    case $1 in
      --host) only=${2-} && shift ;;
      --host=*) only=${1#*=} ;;
      -*) usage >&2 && exit 2 ;;
      *) wanted+=("$1") ;;
    esac
    shift
  done
  for name in "${wanted[@]}"; do
    [[ " ${members[*]} " == *" $name "* ]] && continue
    [[ " ${attached[*]} " != *" $name "* ]] || fail "$name is not ours to start or stop: it runs at ${url[$name]}"
    printf '%s\n' "there is no member '$name' in $environment; there are: ${members[*]}" >&2 && exit 2
  done
  ((${#wanted[@]})) || wanted=("${together[@]}")
  ((${#wanted[@]})) || fail "there is nothing to start in $environment: its members run already"
  read -r -a known <<<"$(for name in "${wanted[@]}"; do printf '%s\n' "${host[$name]}"; done | sort -u | tr '\n' ' ')"
  if [[ -n $only ]]; then
    local all=("${wanted[@]}")
    wanted=()
    for name in "${all[@]}"; do [[ ${host[$name]} != "$only" ]] || wanted+=("$name"); done
    ((${#wanted[@]})) || fail "no member runs on the host '$only'; hosts: ${known[*]}"
  elif ((${#known[@]} > 1)) && [[ $command == start ]]; then
    fail "the members run on ${#known[@]} hosts: ${known[*]}" "say which one this machine is: --host ${known[0]}"
  fi
}

# Before anything is started: everything that would go wrong, at once.
check() {
  local name at problems=()
  for name in "$@"; do
    if lives "$name"; then
      problems+=("$name runs already, pid $pid: ./stack.sh stop $name")
      continue
    fi
    for at in ${ports[$name]}; do
      ! listens "${at%:*}" "${at##*:}" || problems+=("$name: port ${at##*:} on ${at%:*} is in use: ss -ltnp \
'sport = :${at##*:}' tells by whom; render again with --first-port for other ports")
    done
    [[ -z ${key[$name]-} || -n ${!key[$name]-} ]] || problems+=("$name: ${key[$name]} must hold its API key: export it")
  done
  [[ -z $model_path || -e $model_path ]] || problems+=("there is no model at $model_path: $model_remedy")
  ((${#problems[@]} == 0)) || fail "nothing was started:" "${problems[@]/#/  }"
}

start() {
  local name log waiting began=$SECONDS
  choose "$@"
  check "${wanted[@]}"
  trap 'echo; end "${wanted[@]}"; exit 130' INT TERM
  for name in "${wanted[@]}"; do
    log=$(log_of "$name")
    [[ ! -s $log ]] || mv "$log" "$log.old"
    setsid "$directory/start-$name.sh" >"$log" 2>&1 </dev/null &
    printf '%s %s\n' "$!" "$(started_at "$!")" >"$(pid_file_of "$name")"
  done
  waiting=("${wanted[@]}")
  while ((${#waiting[@]})); do
    local still=()
    for name in "${waiting[@]}"; do
      if answers "$name"; then
        printf '%-12s ready after %d s  %s\n' "$name" $((SECONDS - began)) "${url[$name]}"
      elif ! lives "$name"; then
        give_up "$name has ended; the end of $(log_of "$name"):" "$name"
      elif ((SECONDS - began > ${patience[$name]})); then
        give_up "$name is not ready after ${patience[$name]} s (${probe[$name]}: $seen); the end of its log:" "$name"
      else
        still+=("$name")
      fi
    done
    waiting=("${still[@]}")
    ((${#waiting[@]} == 0)) || sleep 0.2
  done
  trap - INT TERM
  printf '%s\n' "logs: $directory/members/*/*.log   try it: ./stack.sh test   end it: ./stop-all.sh"
}

give_up() {
  printf '%s\n' "$1" >&2
  tail -n 20 "$(log_of "$2")" | sed "s/^/  $2| /" >&2
  end "${wanted[@]}" >&2
  exit 1
}

stop() {
  choose "$@"
  # All that there are, so that nothing is left: also one that is not started with the others.
  (($#)) || wanted=("${members[@]}")
  end "${wanted[@]}"
}

# SIGTERM to each one's process group, and SIGKILL to what is left when its time is over.
end() {
  local name left=() still began=$SECONDS
  for name in "$@"; do
    if lives "$name"; then
      kill -TERM -- "-$pid" 2>/dev/null
      left+=("$name")
    else
      rm -f "$(pid_file_of "$name")"
    fi
  done
  while ((${#left[@]})); do
    still=()
    for name in "${left[@]}"; do
      if ! lives "$name"; then
        rm -f "$(pid_file_of "$name")"
        printf '%-12s stopped\n' "$name"
        continue
      fi
      ((SECONDS - began < ${grace[$name]})) || kill -KILL -- "-$pid" 2>/dev/null
      still+=("$name")
    done
    left=("${still[@]}")
    ((${#left[@]} == 0)) || sleep 0.1
  done
}

status() {
  local name state bad=0
  for name in "${members[@]}" "${attached[@]}"; do
    if [[ " ${attached[*]} " == *" $name "* ]]; then state='runs elsewhere'
    elif lives "$name"; then state="pid $pid"
    else state='does not run'; fi
    if [[ $state == 'does not run' ]]; then
      seen=
      [[ " ${together[*]} " != *" $name "* ]] || bad=1
    elif answers "$name"; then seen='answers'
    else bad=1; fi
    printf '%-12s %-10s %-14s %-10s %s\n' "$name" "${role[$name]}" "$state" "$seen" "${url[$name]}"
  done
  return $bad
}

# A completion in plain text, by curl. Through the proxy it is disaggregated; an engine alone computes it all.
try() {
  local name asked=() header=
  command -v curl >/dev/null || fail "test needs curl"
  [[ -n $model_name ]] || fail "there is nothing to ask: $environment has no engines"
  for name in "${members[@]}" "${attached[@]}"; do [[ ${role[$name]} != proxy ]] || asked+=("$name"); done
  if ((${#asked[@]} == 0)); then
    for name in "${together[@]}" "${attached[@]}"; do [[ ${role[$name]} == store ]] || asked+=("$name"); done
  fi
  for name in "${asked[@]}"; do
    printf '%s\n' "$name, ${url[$name]}/v1/completions:"
    header=
    [[ -z ${key[$name]-} ]] || header="header = \"Authorization: Bearer ${!key[$name]-}\""
    printf '%s' "$header" | curl --config - --silent --show-error --fail-with-body --max-time 60 --noproxy '*' \
      -H 'Content-Type: application/json' "${url[$name]}/v1/completions" \
      -d "{\"model\": \"$model_name\", \"prompt\": \"Prefill here, decode there\", \"max_tokens\": 8, \
\"temperature\": 0}" || fail "" "$name did not answer; see $(log_of "$name")"
    echo
  done
}

config() {
  local name
  choose "$@"
  for name in "${wanted[@]}"; do
    printf '%s\n' "--- start-$name.sh"
    cat "$directory/start-$name.sh"
  done
}

logs() {
  local name files=()
  choose "$@"
  for name in "${wanted[@]}"; do files+=("$(log_of "$name")"); done
  exec tail -n 20 -F "${files[@]}"
}

source "$(dirname "${BASH_SOURCE[0]}")/members.sh" || exit 1
command=${1-}
(($# == 0)) || shift
case $command in
  start | stop | status | config | logs) "$command" "$@" ;;
  test) try ;;
  -h | --help | help) usage ;;
  *) usage >&2 && exit 2 ;;
esac
