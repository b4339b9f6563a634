#!/bin/sh
# embed.sh NAME HEADER FILE: a text file as a C string, on standard output.
set -e
printf '#include "%s"\n\nconst char %s[] =\n' "$2" "$1"
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^[ \t]*//' -e 's/^/"/' -e 's/$/"/' "$3"
printf ';\n'
