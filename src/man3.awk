# SPDX-License-Identifier: MIT
#
# man3.awk - a header of contracts as a manual page: awk -v version=N -v header=gcorn.h -f man3.awk gcorn.h
#
# The header's own comment becomes the description; a line of dashes in a comment begins a section;
# every other comment is the contract of the declarations under it. What the compiler alone needs
# (the lines of #, extern "C") is left out.

function roff(text) {
    gsub(/\\/, "\\e", text)
    if (text ~ /^[.']/)
        text = "\\&" text
    gsub(/-/, "\\-", text)
    return text
}

# A comment's line without its frame.
function bare(line) {
    sub(/ ?\*\/$/, "", line)
    sub(/^\/\* ?/, "", line)
    sub(/^ \* ?/, "", line)
    return line
}

# Code in a comment is indented by one blank, or by many; two go on with a sentence.
function paragraph(line) {
    if (line == "" || line ~ /^[A-Z][a-z]+\.  /)
        print ".PP"
    if (line ~ /^ [^ ]/ || line ~ /^     /) {
        print ".nf\n" roff(line) "\n.fi"
    } else if (line != "") {
        sub(/^ +/, "", line)
        print roff(line)
    }
}

function end_code() {
    if (in_code)
        print ".fi\n.RE"
    in_code = 0
}

function begin_code() {
    if (!in_code)
        print ".PP\n.RS 4\n.nf"
    in_code = 1
}

BEGIN {
    print ".TH " toupper(header) " 3 \"\" \"gcorn " version "\" \"gcorn\""
    print ".SH NAME\n" header " \\- the interface of gcorn"
    print ".SH SYNOPSIS\n.nf\n#include <" header ">\n.fi\n.SH DESCRIPTION"
}

/^\/\* ---- / {
    end_code()
    title = $0
    sub(/^\/\* -+ /, "", title)
    sub(/ -+ \*\/$/, "", title)
    print ".SH " toupper(title)
    next
}
/^#if(def)? .*__cplusplus/ { in_cplusplus = 1 }
/^#(else|endif)/ { in_cplusplus = 0 }
(/^#/ || in_cplusplus) && !in_comment { next }
/^\/\*/ { end_code(); in_comment = 1; print ".PP" }
in_comment {
    text = bare($0)
    if (text !~ /^SPDX-License/)
        paragraph(text)
    if ($0 ~ /\*\/$/)
        in_comment = 0
    next
}
/^$/ { if (in_code) print ""; next }
{ begin_code(); print roff($0) }
END { end_code() }
