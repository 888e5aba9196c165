//! The image that the module maps below Linux: header, entry, panic.
//!
//! Built for `x86_64-unknown-none` and linked by `image.ld` to a fixed address; on the host it is an empty program.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod root {
    #![expect(unsafe_code, reason = "the image's entry is called by the module")]

    use abi::boot::{CORE_STRIDE, CORES_VA, IMAGE_MAGIC};
    use core::arch::global_asm;
    use core::panic::PanicInfo;
    use hypervisor::arch::svm::Amd;
    use hypervisor::arch::vmx::{self, Intel};
    use hypervisor::arch::x86::region::{CORE_BYTES, STACK_TOP};
    use hypervisor::pools::START_FRAMES;

    // The header is `abi::boot::ImageHeader`. The entry changes to this core's region, whose stack is empty as long as the
    // core is not in root, and jumps back to where the module said.
    global_asm!(
        r#"
    .section .header, "a"
    .quad {magic}
    .long {protocol}
    .long {core_bytes}
    .quad image_entry_at
    .quad image_text_bytes
    .quad image_rodata_bytes
    .quad image_bytes
    .quad {start_frames}

    .section .text
    .balign 16
    .global image_entry
image_entry:
    mov eax, edi
    imul rax, rax, {stride}
    movabs rcx, {cores}
    lea rax, [rax + rcx + {stack_top}]
    mov r9, rsp
    mov rsp, rax
    push r8
    push r9
    cld
    call {enter}
    pop r9
    pop r8
    mov rsp, r9
    jmp r8
    "#,
        magic = const IMAGE_MAGIC,
        protocol = const abi::PROTOCOL,
        core_bytes = const CORE_BYTES,
        start_frames = const START_FRAMES,
        stride = const CORE_STRIDE,
        cores = const CORES_VA,
        stack_top = const STACK_TOP,
        enter = sym enter,
    );

    unsafe extern "C" fn enter(core: u32, boot_pa: u64, core_pa: u64) -> u64 {
        // SAFETY: only the module's way in jumps to the entry above, with what `abi::boot::Core` says. The vendor is the same
        // on every core and every time.
        unsafe {
            if vmx::is_here() {
                hypervisor::entry::enter::<Intel>(core, boot_pa, core_pa)
            } else {
                hypervisor::entry::enter::<Amd>(core, boot_pa, core_pa)
            }
        }
    }

    #[panic_handler]
    fn panic(info: &PanicInfo) -> ! {
        if vmx::is_here() {
            hypervisor::words::panic::<Intel>(&format_args!("{info}"))
        } else {
            hypervisor::words::panic::<Amd>(&format_args!("{info}"))
        }
    }
}

#[cfg(not(target_os = "none"))]
fn main() {}
