//! What the model's system tells of itself: a kernel of a few names, with a module.

use std::collections::BTreeMap;

/// Names as the system lists them.
pub const NAMES: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T startup_64
ffffffff81000040 T do_one_initcall
ffffffff81000200 T do_syscall_64
ffffffff81000400 t read_one
ffffffff81000500 T __x64_sys_getppid
ffffffff81000540 T __ia32_sys_getppid
ffffffff81000600 t read_one
ffffffff81000700 T entry_SYSCALL_64
ffffffff81a00000 R linux_banner
ffffffff81a00100 R sys_call_table
ffffffff82000000 B _end
ffffffffc0300010 t msr_open\t[msr]
ffffffffc0300100 t msr_read\t[msr]
";

/// Its modules as the system lists them.
pub const MODULES: &str = "msr 16384 0 - Live 0xffffffffc0300000\n";

pub(super) fn files() -> BTreeMap<String, Vec<u8>> {
    [("/proc/kallsyms", NAMES), ("/proc/modules", MODULES)]
        .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
        .into()
}
