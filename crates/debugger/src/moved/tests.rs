use super::*;

const START: u64 = 0xffff_ffff_8100_1000;

fn not(bytes: &[u8]) -> Not {
    moved(bytes, START, START).unwrap_err()
}

/// Would catch an instruction that is cut, a distance that is measured from another place, and a jump whose condition is another.
#[test]
fn whole_instructions_are_displaced_and_their_distances_are_kept() {
    // PUSH RBX; MOV RBX, RDI; JE +10; RET.
    let bytes = [0x53, 0x48, 0x89, 0xfb, 0x74, 0x10, 0xc3];
    let found = moved(&bytes, START, START).unwrap();
    assert_eq!(found.original, bytes[..6]);
    assert_eq!(found.code, [0x53, 0x48, 0x89, 0xfb, 0x0f, 0x84, 0, 0, 0, 0]);
    assert_eq!((found.first, &found.fixups[..]), (1, &[Fixup { offset: 6, end: 10, target: START + 0x16 }][..]));
    // CMP DWORD PTR [RIP + 20], 7; RET: a number stands behind the distance.
    let bytes = [0x83, 0x3d, 0x20, 0, 0, 0, 7, 0xc3];
    let found = moved(&bytes, START, START).unwrap();
    assert_eq!((found.code.as_slice(), found.first), (&bytes[..7], 7));
    assert_eq!(found.fixups, [Fixup { offset: 2, end: 7, target: START + 0x27 }]);
}

/// Would catch a call that comes back to what can go, or to another address.
#[test]
fn a_call_comes_back_to_where_it_was() {
    // PUSH RBX; CALL +10; RET.
    let bytes = [0x53, 0xe8, 0x10, 0, 0, 0, 0xc3];
    let found = moved(&bytes, START, START).unwrap();
    assert_eq!(found.code, [0x53, 0x68, 0x06, 0x10, 0x00, 0x81, 0xe9, 0, 0, 0, 0]);
    assert_eq!(found.fixups, [Fixup { offset: 7, end: 11, target: START + 0x16 }]);
    assert_eq!((found.original.len(), found.calls), (6, Some(START + 1)));
}

/// Would catch what would run otherwise elsewhere, or be changed by Linux where it is not executed.
#[test]
fn what_must_stay_is_refused_with_its_place() {
    let fixed = |bytes: &[u8], at: u64, what| assert_eq!(not(bytes), Not::Fixed { address: START + at, what }, "{bytes:x?}");
    // A call that others come back to: the jump takes a byte more.
    assert!(moved(&[0xe8, 0, 0, 0, 0, 0xc3], 1 << 33, 1 << 33).is_err(), "its return address is wide");
    fixed(&[0x53, 0xff, 0xd0, 0x90, 0x90, 0xc3], 1, Fixed::Call);
    fixed(&[0x55, 0x0f, 0x1f, 0x44, 0, 0, 0xc3], 1, Fixed::Patched);
    fixed(&[0x55, 0x66, 0x90, 0x48, 0x89, 0xe5, 0xc3], 1, Fixed::Patched);
    fixed(&[0x55, 0xeb, 0, 0x48, 0x89, 0xe5, 0xc3], 1, Fixed::Patched);
    fixed(&[0xe9, 0, 0, 0, 0, 0xc3], 0, Fixed::Patched);
    fixed(&[0xcc, 0x48, 0x89, 0xe5, 0x55, 0xc3], 0, Fixed::Breakpoint);
    fixed(&[0xfb, 0xf4, 0xc3, 0x90, 0x90], 0, Fixed::Other);
    fixed(&[0x0f, 0x0b, 0x90, 0x90, 0x90], 0, Fixed::Other);
    fixed(&[0xe2, 0xfe, 0x90, 0x90, 0x90], 0, Fixed::Other);
    // MOV EAX, [EIP + 0].
    fixed(&[0x67, 0x8b, 0x05, 0, 0, 0, 0, 0xc3], 0, Fixed::Other);
    assert_eq!(not(&[0x31, 0xc0, 0xc3, 0xcc, 0xcc, 0xcc]), Not::Short { bytes: 3 });
    assert_eq!(not(&[0x31, 0xc0]), Not::Short { bytes: 2 });
    assert_eq!(not(&[0x55, 0x06, 0x90, 0x90, 0x90]), Not::Code { address: START + 1 });
    assert_eq!(moved(&[0x90], START, START + 1).unwrap_err(), Not::Code { address: START + 1 });
}

/// Would catch a loop that leads into the middle of the jump, and one that leads to its first byte and is refused for that.
#[test]
fn nothing_leads_between_displaced_bytes() {
    // DEC ECX; MOV RAX, RDI; JNE to the second; RET.
    let bytes = [0xff, 0xc9, 0x48, 0x89, 0xf8, 0x75, 0xfb, 0xc3];
    assert_eq!(not(&bytes), Not::LedInto { from: START + 5, to: START + 2 });
    let first = [0xff, 0xc9, 0x48, 0x89, 0xf8, 0x75, 0xf9, 0xc3];
    let found = moved(&first, START, START).unwrap();
    let part = [0xe9, 0xfb, 0xef, 0xff, 0xff];
    assert_eq!(led_into_from(&part, START + 0x1000, &found), Ok(()));
    assert_eq!(
        led_into_from(&[0xe9, 0xfd, 0xef, 0xff, 0xff], START + 0x1000, &found),
        Err(Not::LedInto { from: START + 0x1000, to: START + 2 })
    );
}

/// Would catch a jump in the bytes that Linux compares before it traces a function.
#[test]
fn the_jump_stands_behind_what_ftrace_changes() {
    let plain = [0x0f, 0x1f, 0x44, 0, 0, 0x55];
    let guarded = [0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0, 0, 0x55];
    let traced = [0xe8, 1, 2, 3, 4, 0x55];
    let at = |bytes: &[u8], offset| behind_traced(bytes, START, START + offset) - START;
    assert_eq!((at(&plain, 0), at(&guarded, 0), at(&guarded, 4), at(&traced, 0)), (5, 9, 9, 5));
    assert_eq!((at(&plain, 5), at(&guarded, 9), at(&[0x55, 0xc3], 0)), (5, 9, 0));
}
