#!/usr/bin/env bash
# The sandbox from outside: what the self-test says here, what it and the
# program say where the kernel lacks a layer, and the program's command line.
. "${srcdir:-$(dirname "$0")/../..}/tests/it/lib.sh"
imager=$top_builddir/imager/souk-imager
without=$top_builddir/tests/imager/without
[ -x "$imager" ] || it_skip_all "configured without images"
picture=$srcdir/docs/shop.png

# answer COMMAND...: for the picture, one file a variant
answer() {
	"$@" --widths 100 --formats webp 3<"$picture" 4>"$IT/variant"
}

# ---- the kernel that is here
report=$("$imager" --self-test)
rc=$?
tries=22 want=0
# AddressSanitizer needs terabytes: then memory has no limit, and that fails.
if printf %s "$report" | grep -q AddressSanitizer; then
	tries=21 want=1
fi
# What the kernel says it has must be in there.
if grep -q '^Seccomp_filters' /proc/self/status; then
	it_match "this kernel's seccomp is used" "$report" '^seccomp: yes'
fi
if grep -qw landlock /sys/kernel/security/lsm 2>/dev/null; then
	it_match "and its landlock" "$report" 'landlock: ABI'
fi
case $report in
*"seccomp: yes, landlock: ABI"*) all=yes ;;
*) all='' && it_skip "all is refused" "not on this kernel: ${report%%$'\n'*}" ;;
esac
column() { # TRY NUMBER: all, seccomp, landlock, limits, none
	printf '%s\n' "$report" | sed -n "s/^$1  *ok  *//p" | awk "{print \$$2}"
}
if [ -n "$all" ]; then
	it_match "all is refused here" "$report" "^$tries of 22 as they must be"
	it_eq "and the status says so" $rc $want
	it_eq "files: by seccomp" "$(column 'read .etc.passwd' 2)" EACCES
	it_eq "and by landlock" "$(column 'read .etc.passwd' 3)" EACCES
	it_eq "sockets end the process" "$(column 'send by UDP' 1)" killed
	it_eq "programs end the process" "$(column 'run another program' 1)" killed
	it_eq "processes too" "$(column fork 1)" killed
fi
it_eq "CPU time has an end" "$(column 'CPU time beyond the limit' 4)" XCPU
# A try that fails by itself would prove nothing. (Where another process may
# not be traced anyway, that one does.)
it_eq "without the sandbox all would work" "$(printf '%s\n' "$report" |
	awk '/ ok | NOT OK / && $NF !~ /^(works|-)$/ && !/^trace/' | wc -l)" 0

# ---- a kernel with less
if [ -n "$all" ]; then
	out=$("$without" landlock -- "$imager" --self-test)
	it_eq "seccomp alone refuses all" $? $want
	it_match "no landlock is said" "$out" 'seccomp: yes, landlock: NO'
	out=$("$without" seccomp -- "$imager" --self-test)
	it_eq "without seccomp the self-test fails" $? 1
	it_match "it says what got through" "$out" '^fork +NOT OK +works'
	it_ok "a report is no failure" \
		"$without" seccomp -- "$imager" --self-test --report
	it_match "the answer says it: all is there" \
		"$(answer "$imager")" '"seccomp":true,"landlock":[1-9]'
	it_match "no landlock" "$(answer "$without" landlock -- "$imager")" \
		'"variants":\[\{.*"seccomp":true,"landlock":0'
	it_match "no seccomp" "$(answer "$without" seccomp -- "$imager")" \
		'"variants":\[\{.*"seccomp":false,"landlock":[1-9]'
	it_ok "strict is content with all" answer "$imager" --strict
fi
for layer in landlock seccomp; do
	out=$(answer "$without" $layer -- "$imager" --strict)
	it_eq "strict: an error without $layer" $? 1
	it_match "which names it" "$out" "^\{\"error\":\"sandbox\",.* no "
done

# ---- the command line
it_ok "--version" "$imager" --version
it_exit "an unknown option is usage" 2 "$imager" --nonsense
it_exit "a word too" 2 "$imager" picture.png
it_exit "widths ascend" 2 "$imager" --widths 640,320
it_exit "formats are known" 2 "$imager" --formats webp,bmp
it_match "no original" "$("$imager" 3<&- 2>&1)" '"error":"sandbox".*Descriptor 3'
it_match "no room for the variant" \
	"$("$imager" --widths 100 --formats webp 3<"$picture" 4>/dev/full)" \
	'"error":"sandbox".*No space left'
it_match "too few files" \
	"$("$imager" --widths 50,100 --formats webp 3<"$picture" 4>"$IT/v")" \
	'"error":"sandbox".*not enough'
it_match "no temporary file, no cache: it reads and writes what it was given" \
	"$(answer "$imager" | jq -r '.variants[0].sha256' 2>/dev/null)" \
	"^$(sha256sum <"$IT/variant" | cut -d' ' -f1)\$"
it_summary
