#!/bin/sh
# usage: run.sh URLS ANSWERS
#
# Asks for PHRASE in the image of each line of URLS, PARALLEL at a time. Line N's answer is ANSWERS/N.json, which appears when it is
# whole; an answer that is there is not asked for again. curl waits as long as a 429 or 503 says (Retry-After), and asks again.
# Exits with 1 when an answer is missing in the end.
set -eu

one() { # ANSWERS N URL
    target="$1/$2"
    [ ! -s "$target.json" ] || return 0
    printf '{"image": {"type": "url", "value": "%s"}, "prompts": [{"type": "text", "text": "%s"}]}' "$3" "$PHRASE" |
        curl --fail --silent --show-error --retry "${RETRIES:-100}" --retry-connrefused --max-time 3600 \
            --header "Authorization: Bearer $KEY" --json @- --output "$target.part" "$SERVER/sam3/concept_segment" || return 0
    mv "$target.part" "$target.json"
}

if [ "$1" = --one ]; then
    one "$2" "$3" "$4"
    exit 0
fi
awk '{ print NR; print $1 }' "$1" | xargs -P "${PARALLEL:-8}" -n 2 sh "$0" --one "$2"

missing=0 number=0
while read -r url; do
    number=$((number + 1))
    [ -s "$2/$number.json" ] || { echo "no answer for line $number: $url" >&2; missing=1; }
done <"$1"
exit "$missing"
