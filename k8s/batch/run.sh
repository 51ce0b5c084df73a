#!/bin/sh
# usage: run.sh URLS ANSWERS
#
# Asks for PHRASE in the image of each line of URLS, PARALLEL at a time. Answers are in a folder of ANSWERS of their own, which is
# named by a digest of URLS and PHRASE and has a copy of both. Line N's answer is N.json, which appears when it is whole; an answer
# that is there is not asked for again. curl waits as long as a 429 or 503 says (Retry-After), and asks again.
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
answers="$2/$(echo "$PHRASE" | cat - "$1" | sha256sum | cut -c 1-12)"
mkdir -p "$answers"
cp "$1" "$answers/urls"
echo "$PHRASE" >"$answers/phrase"
echo "answers are in $answers"
awk 'NF { print NR; print $1 }' "$1" | tr '\n' '\0' | xargs -0 -P "${PARALLEL:-8}" -n 2 sh "$0" --one "$answers"

missing=0 number=0
while read -r url || [ -n "$url" ]; do # the last line may have no end
    number=$((number + 1))
    [ -z "$url" ] || [ -s "$answers/$number.json" ] || { echo "no answer for line $number: $url" >&2; missing=1; }
done <"$1"
exit "$missing"
