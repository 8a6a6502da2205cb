#!/usr/bin/env bash
# A day of operation without a site: examples/operator.sh [ROWS], in the folder where its files are to lie.
set -euo pipefail

rows=${1:-288}
journal=tutorial.db

# A feed drawn here, decided row by row: the same loop as on a site. json=true prints a line a decision.
gridpilot live agent=truthful live=simulated "live.rows=$rows" "live.journal=$journal" json=true >decisions.jsonl

gridpilot live status "live.journal=$journal"

# A halt is a record of the journal, and holds until somebody resumes. Nothing runs here, so it is written ahead.
gridpilot live halt "live.journal=$journal" --ahead --why "a rehearsal"
gridpilot live resume "live.journal=$journal" --why "the rehearsal is over"

# Nothing was changed behind the journal's back, and every decision comes out the same again.
gridpilot live verify "live.journal=$journal" --replay

# For other programs, and for people.
gridpilot live export "live.journal=$journal" --out decisions.csv
gridpilot live report "live.journal=$journal" --out report.html
