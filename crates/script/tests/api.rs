//! What the prompt does with a script: expressions, globals that outlive one, and the page that explains it all.

mod common;

use common::{Files, cases};
use script::oracle::{Model, run};
use script::{Options, compile, compile_expression};
use std::{fs, path::Path};

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/script.md");
    fs::read_to_string(path).expect("docs/script.md")
}

/// Would catch a `?` that takes a statement, or leaves the end of its line unread.
#[test]
fn an_expression_is_its_value_and_nothing_else() {
    let value = |text: &str| {
        let program = compile_expression(text, &Files, &Options::default()).unwrap_or_else(|errors| panic!("{}", errors[0]));
        (run(&program, &mut Model::default()).unwrap(), program.tells_float)
    };
    assert_eq!(value("@rax + 5"), (6, false));
    assert_eq!(value("main_symbol"), (0x4560, false));
    assert_eq!(value("poi(@rsi) & ff00;"), (0x100, false));
    assert_eq!(value("1.5 * 2"), (3.0_f64.to_bits(), true));
    for (text, column) in [("", 1), ("5 5", 3), ("if (1) { }", 8), ("@rxa", 1), ("5 +", 4), ("printf(\"x\")", 1)] {
        let errors = compile_expression(text, &Files, &Options::default()).unwrap_err();
        assert_eq!(errors[0].column, column, "{text}: {}", errors[0]);
    }
}

/// Would catch a global that lies in another cell for the next script.
#[test]
fn globals_keep_their_cells_from_script_to_script() {
    let first = compile(".a = 1; int .b[5]; .b[4] = 2; .c = 3;", &Files, &Options::default()).unwrap();
    let mut model = Model::default();
    run(&first, &mut model).unwrap();
    let options = Options { globals: first.globals.clone(), ..Options::default() };
    let second = compile("int .b[5]; .d = 4; return .c * 100 + .b[4] * 10 + .a;", &Files, &options).unwrap();
    assert_eq!(run(&second, &mut model).unwrap(), 0x321);
    assert_eq!(second.globals[..3], first.globals[..]);
    let wider = compile("int .b[9]; .b[8] = 1;", &Files, &options).unwrap_err();
    assert_eq!((wider[0].column, wider[0].message.as_str()), (5, ".b has 18 bytes in other scripts"));
    let many = (0..513).map(|number| format!(".g{number} = 1;")).collect::<String>();
    let most = compile(&many, &Files, &Options::default()).unwrap_err();
    assert_eq!(most[0].message, "all scripts together have 512 global cells at most");
}

/// Would catch an event that asks for no buffer though its script uses one.
#[test]
fn a_program_says_what_it_needs() {
    let needs = |text: &str| compile(text, &Files, &Options::default()).unwrap().uses_buffer;
    assert!(needs("eq($buffer, 5);") && !needs("eq(@rsi, 5);"));
}

/// Would catch an example of the page that does not compile, and a function that the page does not know.
#[test]
fn the_page_is_true() {
    let page = page();
    let example = page.split("```c\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    if let Err(errors) = compile(example, &Files, &Options::default()) {
        panic!("{}", errors[0]);
    }
    // Families stand as `…_pa` and the like.
    let told = |name: &str| {
        let families = ["_pa", "_step", "_step_in", "_step_out", "len64", "len32"];
        page.contains(&format!("`{name}")) || page.contains(name) || families.iter().any(|family| name.ends_with(family))
    };
    let untold: Vec<_> = script::functions().filter(|name| !told(name) && !name.starts_with("lbr_")).collect();
    assert!(untold.is_empty(), "docs/script.md lacks {untold:?}");
    assert!(script::functions().count() > 70 && script::registers().count() >= 120 && script::pseudo_registers().count() == 16);
    let lacks: Vec<_> = script::pseudo_registers().filter(|name| !page.contains(name)).collect();
    assert!(lacks.is_empty(), "docs/script.md lacks {lacks:?}");
}

/// Would catch a function of the language that no case tries.
#[test]
fn every_function_is_tried_by_a_case() {
    let all: String = cases("cases", "//=").into_iter().map(|(_, text, _)| text + "\n").collect();
    let untried: Vec<_> =
        script::functions().filter(|name| !name.starts_with("lbr_") && !all.contains(&format!("{name}("))).collect();
    assert!(untried.is_empty(), "{untried:?}");
}
