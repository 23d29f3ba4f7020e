package migrations

import "strings"

// reservedWords are the words that PostgreSQL 14 to 18 do not take as the name of a schema without
// quotes, sorted: catcode R or T in pg_get_keywords(). The list is fixed so that a name that is good
// on one server is good on all; a test compares it with the server at hand.
var reservedWords = strings.Fields(`
all analyse analyze and any array as asc asymmetric authorization binary both case cast check collate
collation column concurrently constraint create cross current_catalog current_date current_role
current_schema current_time current_timestamp current_user default deferrable desc distinct do else end
except false fetch for foreign freeze from full grant group having ilike in initially inner intersect
into is isnull join lateral leading left like limit localtime localtimestamp natural not notnull null
offset on only or order outer overlaps placing primary references returning right select session_user
similar some symmetric system_user table tablesample then to trailing true union unique user using
variadic verbose when where window with`)
