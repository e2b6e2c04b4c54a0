# The shell that README.md is pasted into. It ends at the first command that fails, and with it all that it started.
set -Eeuo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT

# curl, which also fails when the status does not begin as it should.
curl() {
    local head status
    head=$(mktemp ./head-XXXXXX)
    command curl --silent --show-error --dump-header "$head" "$@"
    status=$(head -n 1 "$head" | cut -d ' ' -f 2)
    printf '\n(%s)\n' "$status" >&2
    if [[ $status != "$STATUS"* ]]; then
        printf 'The status should begin with %s, after: curl %s\n' "$STATUS" "$*" >&2
        return 1
    fi
}

# Before a block: how the status of its calls begins.
before() {
    STATUS=$1
    printf -- '---\n'
}

# After a block a reader looks at the receiver, and goes on when it listens and has got what was sent.
after() {
    until (: 2>/dev/null </dev/tcp/127.0.0.1/"$1") || [[ $(jobs -p | wc -l) == 0 ]]; do sleep 0.1; done 2>/dev/null
    while command curl --silent -H "authorization: Bearer $OPS_KEY" "$REPLAY_URL/v1/events/enrolment-4711?tenant=acme" |
        grep -qE '"status":"(pending|retrying)"'; do sleep 0.2; done
}

# Waits until a text was printed so many times.
printed() {
    until [[ $(grep -oF -- "$2" output | wc -l) -ge $1 ]]; do sleep 0.2; done
}
