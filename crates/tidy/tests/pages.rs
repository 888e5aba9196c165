//! Pages of docs/ that are made of source text: commands, codes, limits. `UPDATE=1` writes them anew.

use std::{collections::BTreeSet, fmt::Write};
use tidy::{File, read, stale};

const MADE: &str = "<!-- Made by crates/tidy/tests/pages.rs; edit the source and run: UPDATE=1 cargo test -p tidy -->\n";

/// A number that is promised somewhere: its name, its value as it is written, and the comment above it.
struct Limit {
    name: String,
    value: String,
    about: String,
}

const ABI_REQUEST: &str = "crates/abi/src/request.rs";
const ABI_MEMORY: &str = "crates/abi/src/request/memory.rs";
const ROOT_MEMORY: &str = "crates/hypervisor/src/memory/tests.rs";
const MEMORY: &str = "crates/debugger/src/memory.rs";
const MEMORY_TEST: &str = "crates/debugger/tests/memory.rs";
const LINK: &str = "crates/link/src/limits.rs";
const FRAME: &str = "crates/link/src/frame.rs";
const CONVERSATION: &str = "crates/link/tests/conversation.rs";
const RESERVE: &str = "crates/reserve/src/limits.rs";
const ROOT: &str = "crates/hypervisor/src/limits.rs";
const LAST_WORDS: &str = "tests/e2e/last_words.rs";
const BANK: &str = "crates/hypervisor/src/bank.rs";
const POOLS: &str = "crates/hypervisor/src/pools.rs";
const WIRE: &str = "crates/debugger/src/target/wire.rs";
const SYMBOLS: &str = "crates/symbols/src/limits.rs";
const SESSION: &str = "crates/debugger/src/session.rs";
const OUTPUTS: &str = "crates/debugger/src/outputs.rs";
const SINK: &str = "crates/debugger/src/outputs/sink.rs";
const OPEN: &str = "crates/debugger/src/outputs/open.rs";
const OUTPUTS_TEST: &str = "crates/debugger/tests/outputs.rs";
const MESSAGES: &str = "crates/hypervisor/src/messages.rs";
const EVENTS: &str = "crates/events/src/limits.rs";
const EVENTS_CODE: &str = "crates/events/tests/code.rs";
const REFUSALS: &str = "crates/events/tests/refusals.rs";
const SCRIPT: &str = "crates/script/src/limits.rs";
const SCRIPT_VM: &str = "crates/script-vm/src/limits.rs";
const VERIFIER: &str = "crates/script/tests/verifier.rs";
const REFUSED: &str = "crates/script/tests/refused.rs";

/// Where limits stand: a heading, a file, and the names; none for all public ones.
const SOURCES: [(&str, &str, &[&str]); 25] = [
    (
        "Module and image",
        "crates/abi/src/boot.rs",
        &["DIRECT_BYTES_MAX", "CORE_STRIDE", "CORES_MAX", "BLOCK_ORDER_MIN", "BLOCK_ORDER_MAX", "BLOCKS_MAX"],
    ),
    ("Requests", ABI_REQUEST, &["MESSAGE_BYTES_MAX", "CORES_SHOWN_MAX", "EXIT_ROWS_MAX", "STEPS_MAX"]),
    ("Requests: memory", ABI_MEMORY, &["BYTES_MAX", "PATTERN_BYTES_MAX", "FOUND_MAX"]),
    ("Link", LINK, &[]),
    ("Reserve", RESERVE, &[]),
    ("Root", ROOT, &[]),
    ("Root: its share of memory", POOLS, &["RAM_1024THS"]),
    ("Root: tables of blocks", BANK, &["TABLES_TOGETHER", "TABLES_AHEAD"]),
    ("Root: the UART", "crates/hypervisor/src/arch/x86/uart.rs", &["WRITE_TICKS_MAX"]),
    ("Root: what it tells", "crates/hypervisor/src/serve.rs", &["NOTICE_AGAIN_MS"]),
    ("Root: farewells", "crates/hypervisor/src/hypercall.rs", &["GOODBYE_TRIES", "GOODBYE_WAIT_MS"]),
    (
        "Module: memory",
        "module/memory.c",
        &["BANK_SHARE", "BANK_FRAMES_MIN", "KEEP_SHARE", "TABLES_TOGETHER", "TABLES_AHEAD_FRAMES"],
    ),
    ("Module: the device", "module/device.c", &["TRIES_MAX"]),
    ("Module: time", "module/time.c", &["LOST_NS_MIN"]),
    ("Prompt", SESSION, &["FETCH_LIMIT"]),
    ("Prompt: that it is there", WIRE, &["ATTEND_MS", "ATTEND_LIMIT_MS"]),
    ("Prompt: steps", "crates/debugger/src/commands/p.rs", &["TIMES_MAX"]),
    ("Prompt: memory", MEMORY, &["LENGTH_MAX", "PLACES_MAX"]),
    ("Prompt: outputs", OUTPUTS, &["OF_AN_EVENT_MAX", "OUTPUTS_MAX", "CLOSE_LIMIT"]),
    ("Prompt: what waits for an output", SINK, &["QUEUE_BYTES_MAX"]),
    ("Prompt: opening an output", OPEN, &["CONNECT_LIMIT"]),
    ("Prompt: names and types", SYMBOLS, &[]),
    ("Scripts: the language", SCRIPT, &[]),
    ("Scripts: in root", SCRIPT_VM, &[]),
    ("Events", EVENTS, &[]),
];

/// What fails when a limit is broken: the limit by its file and name, a test likewise. The rest is asserted while compiling,
/// or not tested.
const PROOFS: [(&str, &str, &str, &str); 53] = [
    (WIRE, "ATTEND_LIMIT_MS", "tests/e2e/client_death.rs", "who_is_killed_while_it_is_halted_leaves_a_linux_that_runs_on"),
    (SYMBOLS, "TASKS_MAX", "crates/symbols/src/tasks/tests.rs", "no_more_tasks_are_looked_at_than_the_limit"),
    (
        ROOT,
        "NESTED_DIVIDED_BYTES_MAX",
        "crates/hypervisor/src/arch/vmx/ept/tests.rs",
        "without_large_leaves_more_than_64_gib_are_refused",
    ),
    (
        ROOT,
        "DETOURS_MAX",
        "crates/hypervisor/src/detours/tests.rs",
        "requests_that_are_none_are_refused_and_units_end_where_places_do",
    ),
    (ABI_MEMORY, "BYTES_MAX", ROOT_MEMORY, "requests_that_are_none_are_refused"),
    (ABI_MEMORY, "PATTERN_BYTES_MAX", ROOT_MEMORY, "requests_that_are_none_are_refused"),
    (ABI_MEMORY, "FOUND_MAX", ROOT_MEMORY, "every_place_is_found_once_and_holes_are_passed"),
    (ROOT, "SEARCH_LOOKS_MAX", ROOT_MEMORY, "every_place_is_found_once_and_holes_are_passed"),
    (
        ROOT,
        "STRIDE_MAX",
        "tests/e2e/threads.rs",
        "a_program_stepped_from_its_first_instruction_to_its_last_does_what_it_does_else",
    ),
    (ROOT, "FRUITLESS_MAX", "crates/hypervisor/src/threads.rs", "an_instruction_that_comes_to_nothing_is_given_up"),
    (ROOT, "TASKS_MAX", "crates/hypervisor/src/tasks.rs", "a_process_is_found_and_a_list_has_an_end"),
    (MEMORY, "LENGTH_MAX", MEMORY_TEST, "what_is_too_much_is_refused_and_what_is_offered_works"),
    (MEMORY, "PLACES_MAX", MEMORY_TEST, "every_place_is_found_over_many_requests"),
    (OUTPUTS, "OF_AN_EVENT_MAX", OUTPUTS_TEST, "what_cannot_work_is_refused_with_its_reason"),
    (SINK, "QUEUE_BYTES_MAX", SINK, "a_slow_reader_gets_whole_messages_in_their_order_and_the_others_are_counted"),
    (OPEN, "CONNECT_LIMIT", OPEN, "who_does_not_answer_is_given_up"),
    (ROOT, "GATHERED_BYTES", MESSAGES, "what_gathers_comes_when_four_kilobytes_are_full_or_the_event_ends"),
    (ROOT, "GATHERING_MAX", MESSAGES, "more_events_than_there_is_room_for_gather_in_turns"),
    (
        SCRIPT,
        "GLOBAL_NAME_BYTES_MAX",
        "crates/debugger/tests/globals.rs",
        "a_name_that_root_cannot_keep_is_refused_at_its_place",
    ),
    (ABI_REQUEST, "STEPS_MAX", "tests/e2e/steps.rs", "a_pause_ends_steps_and_what_is_none_is_refused"),
    (ABI_REQUEST, "MESSAGE_BYTES_MAX", ABI_REQUEST, "a_message_that_does_not_fit_is_not_written"),
    (LINK, "VERSION", CONVERSATION, "another_version_is_told_at_both_ends"),
    (LINK, "HEAD_BYTES", FRAME, "the_bytes_of_a_frame_are_those_of_the_picture"),
    (LINK, "CRC_BYTES", FRAME, "the_bytes_of_a_frame_are_those_of_the_picture"),
    (LINK, "PAYLOAD_BYTES_MAX", CONVERSATION, "a_payload_a_byte_too_long_is_refused_and_the_next_goes_through"),
    (LINK, "RAW_BYTES_MAX", FRAME, "overlong_bytes_are_one_fault_and_the_next_frame_is_read"),
    (LINK, "FRAME_BYTES_MAX", FRAME, "the_longest_payload_fits_the_stated_bytes_whatever_is_in_it"),
    (LINK, "RESEND_MS", CONVERSATION, "a_request_is_repeated_at_its_times_and_given_up_at_its_end"),
    (LINK, "TRIES_MAX", CONVERSATION, "a_request_is_repeated_at_its_times_and_given_up_at_its_end"),
    (LINK, "SILENT_MS", CONVERSATION, "a_request_is_repeated_at_its_times_and_given_up_at_its_end"),
    (RESERVE, "SLAB_FRAMES_USUAL", "crates/reserve/src/plan.rs", "the_documented_objects_waste_an_eighth_at_most"),
    (RESERVE, "BLOCK_ORDER_MAX", "crates/reserve/tests/bank.rs", "a_block_of_a_wrong_shape_is_refused"),
    (ROOT, "LAST_EXITS", LAST_WORDS, "root_says_its_last_words_and_linux_runs_on"),
    (ROOT, "LAST_WORDS_BYTES", LAST_WORDS, "root_says_its_last_words_and_linux_runs_on"),
    (POOLS, "RAM_1024THS", "crates/reserve/tests/supply.rs", "a_kind_takes_no_more_than_its_share_of_ram"),
    (
        SESSION,
        "FETCH_LIMIT",
        "crates/debugger/tests/sentences.rs",
        "a_linux_that_never_answers_is_halted_again_and_nothing_is_reserved",
    ),
    (SCRIPT_VM, "STEPS_DEFAULT", VERIFIER, "a_run_ends_with_its_steps"),
    (SCRIPT_VM, "PROGRAM_WORDS_MAX", VERIFIER, "what_the_embedder_has_no_room_for_is_refused"),
    (SCRIPT_VM, "PRINTED_NUMBER_BYTES_MAX", "crates/script-vm/src/format.rs", "floats_are_written_as_std_writes_them"),
    (EVENTS, "REGULAR_PROGRAM_BYTES", REFUSALS, "what_does_not_fit_a_regular_unit_asks_for_a_big_one"),
    (EVENTS, "BIG_PROGRAM_BYTES", REFUSALS, "what_is_too_large_is_refused_with_both_sizes"),
    (EVENTS, "REGULAR_CONDITION_BYTES", EVENTS_CODE, "program_condition_and_code_share_the_unit"),
    (EVENTS, "BIG_CONDITION_BYTES", EVENTS_CODE, "program_condition_and_code_share_the_unit"),
    (EVENTS, "REGULAR_BUFFER_BYTES", REFUSALS, "what_does_not_fit_a_regular_unit_asks_for_a_big_one"),
    (EVENTS, "BIG_BUFFER_BYTES", REFUSALS, "what_is_too_large_is_refused_with_both_sizes"),
    (EVENTS, "EXCEPTION_VECTOR_MAX", REFUSALS, "what_no_event_can_be_is_refused"),
    (EVENTS, "INTERRUPT_VECTORS", REFUSALS, "what_no_event_can_be_is_refused"),
    (SCRIPT, "SOURCE_BYTES_MAX", REFUSED, "a_script_beyond_a_limit_is_refused_in_words"),
    (SCRIPT, "HEIGHT_MAX", REFUSED, "a_script_beyond_a_limit_is_refused_in_words"),
    (SCRIPT, "VARIABLES_MAX", REFUSED, "a_script_beyond_a_limit_is_refused_in_words"),
    (SCRIPT, "LITERAL_BYTES_MAX", REFUSED, "a_script_beyond_a_limit_is_refused_in_words"),
    (SCRIPT, "DEPTH_MAX", REFUSED, "every_refusal_names_its_place_and_what_would_help"),
    (SCRIPT, "INCLUDE_DEPTH_MAX", REFUSED, "every_refusal_names_its_place_and_what_would_help"),
];

/// What is promised of whole machines: in words, and the test that shows it.
const PROMISES: [(&str, &str, &str); 18] = [
    (
        "loads and unloads 100 times in one boot with busy cores",
        "tests/e2e/load_unload.rs",
        "a_hundred_cycles_under_load_leave_nothing_behind",
    ),
    (
        "halts 200 times, asked for from both cores at once",
        "tests/e2e/halts.rs",
        "two_hundred_halts_from_each_core_at_once_all_arrive",
    ),
    (
        "pauses 200 times while the cores fault and fork",
        "tests/e2e/halts.rs",
        "two_hundred_pauses_of_busy_cores_disturb_nothing",
    ),
    (
        "breaks in while both cores spin with interrupts off",
        "tests/e2e/dead_user_space.rs",
        "cores_that_take_no_interrupt_are_halted_where_they_spin",
    ),
    (
        "stands still for 60 s and Linux does not notice",
        "tests/e2e/long_pause.rs",
        "a_pause_of_a_minute_and_the_unload_after_it_go_unnoticed",
    ),
    (
        "does each command once on a line that spoils one frame in ten",
        "tests/e2e/link_line.rs",
        "fifty_commands_over_a_line_that_spoils_one_frame_in_ten_are_each_done_once",
    ),
    (
        "outlives a reboot and a reset of the debuggee",
        "tests/e2e/link_line.rs",
        "a_prompt_outlives_a_reboot_and_a_reset_of_the_debuggee",
    ),
    (
        "says last words after a fault of its own, and Linux runs on",
        "tests/e2e/last_words.rs",
        "root_says_its_last_words_and_linux_runs_on",
    ),
    ("keeps its memory from Linux, frame by frame", "tests/e2e/shield.rs", "linux_sees_nothing_of_root_and_cannot_strike_it"),
    ("survives cores that go offline and come back", "tests/e2e/hotplug.rs", "a_core_goes_and_comes_twenty_times_under_load"),
    ("sleeps and wakes with the machine", "tests/e2e/sleep.rs", "a_machine_sleeps_in_ram_and_wakes_with_root_under_it"),
    ("leaves before the next kernel", "tests/e2e/sleep.rs", "the_next_kernel_finds_a_machine_without_root"),
    (
        "leaves programs' own breakpoints and steps as they are",
        "tests/e2e/breakpoints.rs",
        "breakpoints_steps_and_watches_of_programs_are_those_of_a_machine_without_root",
    ),
    (
        "reserves from the bank without letting a halted machine run, or touching a byte of its kernel",
        "tests/e2e/reserve_levels.rs",
        "what_the_bank_serves_leaves_a_halted_machine_untouched",
    ),
    (
        "fills each type to its level again while the debuggee runs, never while it is halted",
        "tests/e2e/reserve_levels.rs",
        "a_level_is_filled_again_while_the_debuggee_runs_and_not_before",
    ),
    ("gives Linux back what was released", "tests/e2e/reserve_levels.rs", "what_is_released_is_linux_memory_again"),
    (
        "balances after 10 000 rounds on two cores under load and halts",
        "tests/e2e/reserve_levels.rs",
        "ten_thousand_rounds_under_load_and_halts_balance_at_the_end",
    ),
    (
        "reserves all or nothing, and says success only for all",
        "tests/e2e/prealloc_refused.rs",
        "what_cannot_be_reserved_is_refused_whole_while_halted",
    ),
];

fn comment(line: &str) -> Option<&str> {
    let line = line.trim();
    let text = line.strip_prefix("///").or_else(|| line.strip_prefix("/*").map(|text| text.trim_end_matches("*/")));
    text.map(str::trim)
}

fn definition(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if let Some(define) = line.strip_prefix("#define ") {
        return define.split_once(' ');
    }
    let constant = ["pub const ", "pub(crate) const ", "const "].iter().find_map(|begin| line.strip_prefix(begin))?;
    let (name, rest) = constant.split_once(':')?;
    let (_, value) = rest.split_once('=')?;
    Some((name, value.trim().trim_end_matches(';')))
}

/// Constants of a file with the comments above them. A value that goes on in the next line is not a limit.
fn limits(text: &str) -> Vec<Limit> {
    let mut found: Vec<Limit> = Vec::new();
    let mut about: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(text) = comment(line) {
            about.push(text);
        } else if let Some((name, value)) = definition(line) {
            // Several in a row under one comment share it.
            let shared = about.is_empty().then(|| found.last().map(|last| last.about.clone())).flatten();
            let about = shared.unwrap_or_else(|| std::mem::take(&mut about).join(" "));
            found.push(Limit { name: name.to_owned(), value: value.to_owned(), about });
        } else if !line.trim_start().starts_with("#[") {
            about.clear();
        }
    }
    found
}

fn chosen(path: &str, names: &[&str]) -> Vec<Limit> {
    let text = read(path);
    let all = limits(&text);
    if names.is_empty() {
        let public: BTreeSet<String> = text
            .lines()
            .filter(|line| line.starts_with("pub const "))
            .filter_map(definition)
            .map(|(name, _)| name.to_owned())
            .collect();
        let mut seen = BTreeSet::new();
        // A constant for another configuration stands below the one that is built.
        return all.into_iter().filter(|limit| public.contains(&limit.name) && seen.insert(limit.name.clone())).collect();
    }
    all.into_iter().filter(|limit| names.contains(&limit.name.as_str())).collect()
}

/// The test for a limit; where there is none, whether its own file asserts something about it while it is compiled.
fn proof(path: &str, name: &str) -> String {
    if let Some((.., file, test)) = PROOFS.iter().find(|(at, limit, ..)| *at == path && *limit == name) {
        return format!("`{test}` in {file}");
    }
    let asserts = |line: &str| line.trim_start().starts_with("const _: () = assert!") && line.contains(name);
    if read(path).lines().any(asserts) { "asserted while compiling".to_owned() } else { "not tested".to_owned() }
}

/// What an expression of numbers, names of the same file and one kind of sign comes to.
fn evaluated(expression: &str, all: &[Limit]) -> Option<u128> {
    for (sign, act) in [(" << ", (|a, b| a << b) as fn(u128, u128) -> u128), (" + ", |a, b| a + b), (" * ", |a, b| a * b)] {
        if expression.contains(sign) {
            return expression.split(sign).map(|part| evaluated(part, all)).reduce(|a, b| Some(act(a?, b?)))?;
        }
    }
    let plain = expression.replace('_', "");
    let number = plain.strip_prefix("0x").map_or_else(|| plain.parse().ok(), |hex| u128::from_str_radix(hex, 16).ok());
    number.or_else(|| all.iter().find(|limit| limit.name == expression).and_then(|limit| evaluated(&limit.value, all)))
}

/// A value as it is written and, where that says more, what it comes to.
fn value(expression: &str, all: &[Limit]) -> String {
    match evaluated(expression, all) {
        Some(number) if expression.contains(|c: char| c.is_ascii_uppercase() || c == ' ') => {
            format!("{number} = `{expression}`")
        }
        _ => format!("`{expression}`"),
    }
}

/// A comment as a cell of a table: without what only rustdoc understands.
fn cell(text: &str) -> String {
    text.replace("[`", "`").replace("`]", "`").replace('|', "\\|").replace("\\[", "[").replace("\\]", "]")
}

fn specification() -> String {
    let mut page = format!(
        "{MADE}# What is promised, and its limits\n\n\
         Every maximum and every time of the project, with its reason and with what fails when it is broken. \"Asserted while \
         compiling\"\nmeans that its own file compares it with what depends on it; \"not tested\" means what it says.\n\n\
         ## Promises\n\n| it | shown by |\n|---|---|\n"
    );
    for (promise, file, test) in PROMISES {
        let _ = writeln!(page, "| {promise} | `{test}` in {file} |");
    }
    for (heading, path, names) in SOURCES {
        let _ = write!(
            page,
            "\n## {heading}\n\nFrom [{path}](../{path}).\n\n| limit | value | reason | proof |\n|---|---|---|---|\n"
        );
        let all = limits(&read(path));
        for Limit { name, value: expression, about } in chosen(path, names) {
            let value = cell(&value(&expression, &all));
            let _ = writeln!(page, "| `{name}` | {value} | {} | {} |", cell(&about), proof(path, &name));
        }
    }
    page
}

/// Would catch a limit that moved while the promise stayed.
#[test]
fn the_page_of_limits_is_what_the_sources_say() {
    for (_, path, names) in SOURCES {
        let found = chosen(path, names);
        assert!(found.len() >= names.len().max(1), "{path}: only {} of {names:?}", found.len());
        for limit in found {
            assert!(!limit.about.is_empty(), "{path}: {} has no reason", limit.name);
        }
    }
    assert_eq!(stale("docs/SPECIFICATION.md", &specification()), None);
}

/// Would catch a proof that was renamed or thrown away.
#[test]
fn every_test_that_is_named_as_a_proof_is_there() {
    for (promise, file, test) in PROMISES {
        assert!(read(file).contains(&format!("fn {test}(")), "{promise}: no test {test} in {file}");
    }
    for (path, limit, file, test) in PROOFS {
        assert!(read(file).contains(&format!("fn {test}(")), "{limit}: no test {test} in {file}");
        assert!(limits(&read(path)).iter().any(|known| known.name == limit), "no {limit} in {path}");
    }
}

fn codes() -> String {
    let mut page = format!(
        "{MADE}# Status codes\n\n\
         What comes back in `KernelStatus` of the ioctl, in the head of every answer, and in brackets at the end of a refusal.\n\
         `0xffffffff` is success; numbers below `0xc0001000` are the documentation's, those above are ours.\n\n\
         | code | name | meaning |\n|---|---|---|\n"
    );
    let text = read("crates/abi/src/code.rs");
    let (codes, lacks) = text.split_once("pub mod lack").unwrap_or((&text, ""));
    for Limit { name, value, about } in limits(codes) {
        let _ = writeln!(page, "| `{}` | `{name}` | {} |", value.replace('_', ""), cell(&about));
    }
    page.push_str("\n## Detail of `CPU_LACKS` and `KERNEL_UNSUPPORTED`\n\n| bit | name | meaning |\n|---|---|---|\n");
    for Limit { name, value, about } in limits(lacks) {
        let _ = writeln!(page, "| `{value}` | `{name}` | {} |", cell(&about));
    }
    page
}

/// Would catch a code that programs get and no page explains.
#[test]
fn the_page_of_codes_is_what_abi_says() {
    let page = codes();
    assert!(page.lines().count() > 30, "{page}");
    assert_eq!(stale("docs/reference/codes.md", &page), None);
}

/// A file's name for a command's: signs have none.
fn page_name(command: &str) -> &str {
    match command.trim_start_matches(['.', '!']) {
        "~" => "core",
        "?" => "evaluate",
        name => name,
    }
}

fn command(names: &[&str], manual: &str) -> String {
    let mut page = format!("{MADE}# `{}`\n", names.join("`, `"));
    let (mut indented, mut fenced) = (false, false);
    let mut last = "#";
    for line in manual.lines() {
        let fence = line.starts_with("```");
        let code = !fenced && line.starts_with("    ");
        // Markdown wants a blank line around code; where there is one already, one is enough.
        let border = code != indented || fence && !fenced || last == "#";
        if border && !last.is_empty() && !line.is_empty() {
            page.push('\n');
        }
        page.push_str(if line == "```kd" { "```text" } else { line });
        page.push('\n');
        indented = code;
        fenced ^= fence;
        last = line;
    }
    page
}

/// Would catch a manual that says one thing at the prompt and another in docs/.
#[test]
fn the_pages_of_commands_are_the_commands_own_manuals() {
    let mut wrong = Vec::new();
    let mut expected = BTreeSet::new();
    let mut index = format!(
        "{MADE}# Commands\n\nEach page is the doc comment of the command's own file; `.help NAME` prints the same, and a test types \
         its examples.\n`{{hex}}` and `{{any}}` stand for what differs from one machine to the next.\n\n| command | |\n|---|---|\n"
    );
    for (known, manual) in debugger::commands::all() {
        let name = page_name(known.names[0]);
        let heading = manual.lines().next().unwrap_or_default();
        let _ = writeln!(index, "| [`{}`]({name}.md) | {heading} |", known.names.join("`, `"));
        expected.insert(format!("docs/commands/{name}.md"));
        wrong.extend(stale(&format!("docs/commands/{name}.md"), &command(known.names, &manual)));
    }
    expected.insert("docs/commands/README.md".to_owned());
    wrong.extend(stale("docs/commands/README.md", &index));
    let orphans = tidy::files().into_iter().map(|file| file.path).filter(|path| path.starts_with("docs/commands/"));
    wrong.extend(orphans.filter(|path| !expected.contains(path)).map(|path| format!("{path}: there is no such command")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The targets of a page's links that point into the project.
fn links(page: &File) -> Vec<String> {
    let mut targets = Vec::new();
    let mut code = false;
    for line in page.text.lines() {
        code ^= line.starts_with("```");
        if code {
            continue;
        }
        let ends = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
        targets.extend(ends.filter(|target| !target.is_empty() && !target.contains("://")).map(str::to_owned));
    }
    targets
}

/// Would catch a link to a page that moved.
#[test]
fn every_link_between_pages_leads_somewhere() {
    let mut wrong = Vec::new();
    let mut followed = 0;
    for page in tidy::files().iter().filter(|file| file.is(&["md"])) {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for target in links(page) {
            followed += 1;
            if !tidy::root().join(folder).join(&target).exists() {
                wrong.push(format!("{}: {target}", page.path));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(followed > 20, "only {followed} links were found");
}

/// Would catch a fuzz target that nobody can start from the page, or that begins with nothing.
#[test]
fn every_fuzz_target_has_seeds_and_is_told_of() {
    let page = read("CONTRIBUTING.md");
    let told: BTreeSet<String> = tidy::table(&page, "## Fuzz").iter().map(|row| row[0].to_owned()).collect();
    let files = tidy::files();
    let name = |file: &File, folder: &str| file.path.strip_prefix(folder).map(str::to_owned);
    let targets: BTreeSet<String> = files
        .iter()
        .filter_map(|file| name(file, "fuzz/fuzz_targets/"))
        .filter_map(|file| file.strip_suffix(".rs").map(str::to_owned))
        .collect();
    let seeded = |target: &&String| tidy::root().join("fuzz/seeds").join(target).read_dir().is_ok_and(|all| all.count() > 0);
    assert_eq!(told, targets, "told in CONTRIBUTING.md, and there");
    assert_eq!(targets.iter().filter(seeded).count(), targets.len(), "a target without seeds");
}
