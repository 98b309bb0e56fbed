"""Which functions a statement may call: those that only compute, and those that reach beyond tables.

A function is allowed when it is on the dialect's list of pure builtins. One that touches files, the network,
other sessions or the server itself is an `admin` access; one that runs SQL or names tables in its own text, or
changes what later names mean, is refused. Any other is refused too, unless the catalogue's entry says
`functions: any`: a user-defined function can write.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from remit.resources.text import word_set

Verdict = Literal["pure", "admin", "file", "refused", "unknown"]
"""`pure` computes; `admin` reaches the server; `file` touches the file that its first argument names; `refused`
runs text of its own; `unknown` is on no list."""

_EVERYWHERE: Final = """
abs acos asin atan atan2 avg ceil ceiling char_length character_length coalesce concat concat_ws cos cot count
cume_dist degrees dense_rank exp first_value floor greatest lag last_value lead least left length ln log log10
lower ltrim max min mod nth_value ntile nullif octet_length percent_rank pi power radians rank replace reverse
right round row_number rtrim sign sin sqrt substr substring sum tan trim upper cast case if
current_date current_time current_timestamp current_user
"""

_POSTGRES: Final = """
age array_agg array_append array_cat array_dims array_length array_lower array_ndims array_position
array_positions array_prepend array_remove array_replace array_to_json array_to_string array_upper ascii bit_and
bit_length bit_or bool_and bool_or btrim cardinality cbrt chr clock_timestamp convert_from convert_to corr
covar_pop covar_samp cosd date_bin date_part date_trunc decode div encode erf every extract factorial
format gcd generate_series generate_subscripts get_byte initcap isfinite json_agg
json_array_elements json_array_elements_text json_array_length json_build_array json_build_object json_each
json_each_text json_extract_path json_extract_path_text json_object json_object_agg json_object_keys
json_strip_nulls json_typeof jsonb_agg jsonb_array_elements jsonb_array_elements_text jsonb_array_length
jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
jsonb_insert jsonb_object jsonb_object_agg jsonb_object_keys jsonb_path_exists jsonb_path_match
jsonb_path_query jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls
jsonb_typeof justify_days justify_hours justify_interval lcm localtime localtimestamp lpad make_date
make_interval make_time make_timestamp make_timestamptz md5 mode now num_nonnulls num_nulls numrange overlay
percentile_cont percentile_disc position quote_ident quote_literal quote_nullable random range_agg range_merge
regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array
regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope repeat
row row_to_json rpad session_user sha224 sha256 sha384 sha512 sind split_part starts_with statement_timestamp
stddev stddev_pop stddev_samp string_agg string_to_array string_to_table strpos tand timeofday to_ascii to_char
to_date to_hex to_json to_jsonb to_number to_timestamp to_tsquery to_tsvector translate transaction_timestamp
trim_array trunc ts_headline ts_rank ts_rank_cd tsrange tstzrange daterange int4range int8range plainto_tsquery
phraseto_tsquery websearch_to_tsquery unnest upper_inc lower_inc isempty var_pop var_samp variance version
width_bucket current_database current_schema current_catalog pg_typeof pg_size_pretty date time timestamp text
int4 int8 float4 float8 varchar numeric bool gen_random_uuid uuidv4 uuidv7 any some all exists array json_table
json_query json_value json_exists xmltable xpath xpath_exists normalize
"""

_SQLITE: Final = """
acosh asinh atanh changes char cosh date datetime format glob group_concat hex ifnull iif instr json json_array
json_array_length json_each json_error_position json_extract json_group_array json_group_object json_insert
json_object json_patch json_quote json_remove json_replace json_set json_tree json_type json_valid jsonb
jsonb_array jsonb_extract jsonb_insert jsonb_object jsonb_patch jsonb_remove jsonb_replace jsonb_set
julianday last_insert_rowid like likelihood likely match median nullif octet_length printf quote random sinh
soundex sqlite_version string_agg strftime tanh time timediff total total_changes trunc typeof unhex unicode
unixepoch unlikely zeroblob generate_series subtype bm25 highlight snippet percentile percentile_cont
percentile_disc log2 sqlite_source_id
"""

_MYSQL: Final = """
adddate addtime any_value ascii bin bin_to_uuid bit_and bit_count bit_length bit_or bit_xor char convert
conv convert_tz crc32 curdate curtime date date_add date_format date_sub datediff day dayname dayofmonth dayofweek
dayofyear elt export_set extract field find_in_set format format_bytes from_base64 from_days from_unixtime
group_concat grouping hex hour ifnull inet_aton inet_ntoa insert instr interval is_uuid isnull json_array
json_array_append json_arrayagg json_array_insert json_contains json_contains_path json_depth json_extract
json_insert json_keys json_length json_merge_patch json_merge_preserve json_object json_objectagg json_overlaps
json_pretty json_quote json_remove json_replace json_schema_valid json_search json_set json_table json_type
json_unquote json_valid json_value last_day lcase locate log2 lpad make_set makedate maketime md5 microsecond mid
minute month monthname now oct ord period_add period_diff position quarter quote rand regexp_instr regexp_like
regexp_replace regexp_substr repeat rpad sec_to_time second sha sha1 sha2 soundex space st_astext st_distance
std stddev stddev_pop stddev_samp str_to_date strcmp subdate substring_index subtime sysdate time time_format
time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_days to_seconds truncate ucase unhex
unix_timestamp utc_date utc_time utc_timestamp uuid uuid_to_bin values var_pop var_samp variance version week
weekday weekofyear weight_string year yearweek database schema session_user system_user user last_insert_id
found_rows row_count row any some all exists
"""

_TSQL: Final = """
app_name ascii approx_count_distinct bit_count char charindex checksum checksum_agg choose
compress concat convert count_big datalength dateadd datediff datediff_big datefromparts datename datepart
datetime2fromparts datetimefromparts datetrunc day db_name decompress difference eomonth format
generate_series getdate getutcdate greatest grouping grouping_id hashbytes iif isdate isjson isnull
isnumeric json_array json_object json_query json_value len log month nchar newid openjson parse parsename
patindex percentile_cont percentile_disc quotename rand replicate scope_identity smalldatetimefromparts soundex
space square stdev stdevp str string_agg string_escape string_split stuff switchoffset sysdatetime
sysdatetimeoffset sysutcdatetime timefromparts todatetimeoffset translate try_cast try_convert try_parse unicode
var varp year json_modify atn2 log any some all exists
"""

PURE: Final[dict[str, frozenset[str]]] = {
    "postgres": word_set(_EVERYWHERE + _POSTGRES),
    "sqlite": word_set(_EVERYWHERE + _SQLITE),
    "mysql": word_set(_EVERYWHERE + _MYSQL),
    "tsql": word_set(_EVERYWHERE + _TSQL),
}

_FILE: Final[dict[str, dict[str, str]]] = {
    "postgres": {"pg_read_file": "read", "pg_read_binary_file": "read", "pg_stat_file": "read", "pg_ls_dir": "read",
                 "lo_import": "read", "pg_file_write": "write", "pg_file_unlink": "write", "pg_file_read": "read"},
    "sqlite": {"readfile": "read", "writefile": "write", "load_extension": "read", "fsdir": "read", "lsdir": "read",
               "zipfile": "read"},
    "mysql": {"load_file": "read"},
    "tsql": {},
}  # fmt: skip
"""Functions whose first argument is a file on the server, and what they do with it."""

_ADMIN: Final[dict[str, re.Pattern[str]]] = {
    "postgres": re.compile(
        r"(?:lo_\w+|loread|lowrite|pg_(?:ls_\w+|file_\w+|read_\w+|stat_file|sleep\w*|terminate_backend|cancel_backend"
        r"|reload_conf|rotate_logfile|switch_wal|create_restore_point|start_backup|stop_backup|backup_\w+"
        r"|promote|wal_replay_\w+|advisory_\w+|try_advisory_\w+|notify|current_logfile|stat_reset\w*"
        r"|logical_\w+|replication_\w+|create_\w+|drop_\w+|log_backend_\w+|import_system_collations"
        r"|stat_get_\w+|export_snapshot|prewarm|hba_file_rules|show_\w+|config)|nextval|setval"
        r"|inet_(?:server|client)_\w+|http\w*|net_\w+|current_setting|txid_\w+|aws_\w+)\Z"
    ),
    "sqlite": re.compile(r"(?:load_extension|fts3_tokenizer|sqlite_\w+|shell_\w+|http\w*|eval_\w+)\Z"),
    "mysql": re.compile(
        r"(?:sleep|benchmark|get_lock|release_lock|release_all_locks|is_free_lock|is_used_lock|sys_\w+|lib_\w+"
        r"|master_pos_wait|source_pos_wait|wait_for_executed_gtid_set|mysql_\w+|asynchronous_\w+|group_replication_\w+"
        r"|keyring_\w+|version_tokens_\w+|audit_\w+|http\w*)\Z"
    ),
    "tsql": re.compile(r"(?:xp_\w+|fn_(?:get_audit_file|xe_file_target_read_file|trace_gettable|dump_dblog|dblog)"
                       r"|opendatasource|openxml|sp_\w+)\Z"),
}  # fmt: skip

_REFUSED: Final[dict[str, re.Pattern[str]]] = {
    "postgres": re.compile(
        r"(?:dblink\w*|(?:query|table|cursor|schema|database)_to_xml\w*|query_\w+|ts_stat|ts_rewrite|crosstab\w*"
        r"|connectby|xpath_table|set_config|pg_get_\w+|execute\w*|plpgsql\w*|plpython\w*|postgres_fdw\w*|cron\w*"
        r"|lo_export|to_reg\w+|has_\w+_privilege|currval|lastval)\Z"
    ),
    "sqlite": re.compile(r"(?:eval|edit|pragma_\w+|sqlite_exec|define\w*|csv\w*|vsv|sqlite3_\w+)\Z"),
    "mysql": re.compile(r"(?:procedure|analyse|extractvalue|updatexml|ps_\w+|sys)\Z"),
    "tsql": re.compile(
        r"(?:openrowset|openquery|bulk|exec\w*|sp_executesql|object_definition|containstable|freetexttable"
        r"|changetable|query|nodes|modify|value|exist|predict|ai_\w+)\Z"
    ),
}


def verdict(dialect: str, name: str) -> Verdict:
    """What calling the function `name` (lower case, unqualified) of a dialect means."""
    if name in PURE[dialect]:
        return "pure"
    if name in _FILE[dialect]:
        return "file"
    if _REFUSED[dialect].match(name):
        return "refused"
    return "admin" if _ADMIN[dialect].match(name) else "unknown"


def file_action(dialect: str, name: str) -> str:
    """`read` or `write`: what a `file` function does with the file that it is given."""
    return _FILE[dialect][name]


def is_file_table(dialect: str, table: str) -> bool:
    """Whether a table of this name is a function under cover: SQLite's eponymous virtual tables."""
    return dialect == "sqlite" and (table in _SQLITE_VIRTUAL or table in _FILE["sqlite"])


_SQLITE_VIRTUAL: Final = frozenset({"sqlite_dbpage", "csv", "vsv", "sqlite_dbdata", "sqlite_dbptr", "completion",
                                    "carray", "vfsstat", "vfslist", "http"})  # fmt: skip

GRAMMAR: Final = word_set("""
and or not in exists any some all as on using values value over filter group by select distinct from join where
having when then else case between like ilike rlike regexp glob match similar escape is union except intersect
limit offset set returning lateral apply check unique key include conflict do materialized insert cube rollup sets
top row array columns interval default identity with option pivot unpivot index partition within primary
foreign references recursive for fetch next first rows range groups window div mod xor collate output update of
ignore nothing against btree gin gist hash brin spgist inherits system bernoulli exclude order end constraint
binary unsigned signed mediumint tinyint smallint int integer bigint float
double real decimal dec numeric number char character varchar varying nchar nvarchar varbinary bit bool boolean
date time datetime datetime2 datetimeoffset timestamp timestamptz timetz text tinytext mediumtext longtext blob
tinyblob mediumblob longblob json jsonb uuid enum year money smallmoney xml bytea inet cidr precision
""")
"""Words of the grammar, types included, that a parenthesis may follow without a function being called."""
