//! `#[kernel]` and `shared_array!` of `cuda_std`, where they are documented and used.

use std::sync::atomic::{AtomicUsize, Ordering};

use proc_macro::TokenStream;
use proc_macro2::Span;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::{Expr, FnArg, Ident, ItemFn, LitStr, Pat, ReturnType, Token, Type, parse_macro_input};

/// Makes a function a kernel: an entry of the PTX on `nvptx64`, a typed descriptor on the host.
///
/// `#[kernel(block = [256, 1, 1])]` fixes the threads of a block; constants of the file may be used. With
/// `min_blocks = 2` the registers are limited so that two blocks fit on a multiprocessor. With `shared = BYTES` each block
/// has so many bytes of dynamic shared memory, for `memory::dynamic_array`. A kernel whose blocks wait
/// for each other says `cooperative`: all its blocks are resident at the same time. With `arch = "sm_90a"` it may use what
/// only that architecture has. The PTX for `sm_90a` has such kernels alone, that for any other architecture, which serves
/// there too, has all others. The descriptor is a `static` with the function's name in capitals.
///
/// The function is `unsafe`, not generic, returns nothing, and has plain names as parameters, of the types
/// `u32`, `i32`, `u64`, `f32`, `Global<T>` and `GlobalMut<T>`.
#[proc_macro_attribute]
pub fn kernel(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let launch = parse_macro_input!(attribute as Launch);
    let function = parse_macro_input!(item as ItemFn);
    expand_kernel(&launch, &function).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// The arguments of `#[kernel(…)]`.
struct Launch {
    block: Expr,
    min_blocks: Option<Expr>,
    shared: Option<Expr>,
    cooperative: bool,
    arch: Option<LitStr>,
}

impl Parse for Launch {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let (mut block, mut min_blocks, mut shared, mut cooperative, mut arch) =
            (None, None, None, false, None);
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            let value = || -> syn::Result<Expr> {
                input.parse::<Token![=]>()?;
                input.parse()
            };
            match name.to_string().as_str() {
                "block" => block = Some(value()?),
                "min_blocks" => min_blocks = Some(value()?),
                "shared" => shared = Some(value()?),
                "cooperative" => cooperative = true,
                "arch" => {
                    input.parse::<Token![=]>()?;
                    let name: LitStr = input.parse()?;
                    if name.value() != "sm_90a" {
                        return Err(syn::Error::new(name.span(), "the one architecture is \"sm_90a\""));
                    }
                    arch = Some(name);
                }
                _ => {
                    let known = "a kernel has `block = […]`, `min_blocks = …`, `shared = …`, `cooperative` and \
                                 `arch = \"…\"`";
                    return Err(syn::Error::new(name.span(), known));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = || {
            syn::Error::new(Span::call_site(), "say the threads of a block: `#[kernel(block = [256, 1, 1])]`")
        };
        Ok(Launch { block: block.ok_or_else(missing)?, min_blocks, shared, cooperative, arch })
    }
}

fn expand_kernel(launch: &Launch, function: &ItemFn) -> syn::Result<proc_macro2::TokenStream> {
    let ItemFn { attrs, vis, sig, block: body, .. } = function;
    let reject = |what| Err(syn::Error::new_spanned(sig, what));
    if !matches!(sig.safety, syn::Safety::Unsafe(_)) {
        return reject("a kernel is an `unsafe fn`: global memory is not checked on the GPU");
    }
    if sig.asyncness.is_some() || sig.constness.is_some() || sig.abi.is_some() {
        return reject("a kernel is a plain `unsafe fn`: not `async`, `const` or `extern`");
    }
    if !sig.generics.params.is_empty() {
        return reject("a kernel cannot be generic; call a generic function from it");
    }
    if !matches!(sig.output, ReturnType::Default) {
        return reject("a kernel returns nothing");
    }
    let mut names = Vec::new();
    let mut types = Vec::new();
    for input in &sig.inputs {
        let FnArg::Typed(argument) = input else { return reject("a kernel has no `self`") };
        match &*argument.pat {
            Pat::Ident(name)
                if name.by_ref.is_none() && name.mutability.is_none() && name.subpat.is_none() =>
            {
                names.push(&name.ident);
            }
            pattern => {
                let what = "a kernel's parameters are plain names: no patterns, not `mut`";
                return Err(syn::Error::new_spanned(pattern, what));
            }
        }
        if matches!(*argument.ty, Type::Reference(_) | Type::Ptr(_)) {
            let what = "a kernel reaches memory through `Global<T>` and `GlobalMut<T>`";
            return Err(syn::Error::new_spanned(&argument.ty, what));
        }
        types.push(&argument.ty);
    }
    let name = &sig.ident;
    let descriptor = format_ident!("{}", name.to_string().to_uppercase(), span = name.span());
    let inputs = &sig.inputs;
    let statements = &body.stmts;
    let block = &launch.block;
    let cooperative = launch.cooperative.then(|| quote!(.cooperative()));
    let (here, arch, alignment) = match &launch.arch {
        None => (quote!(all(target_arch = "nvptx64", not(target_feature = "sm_90a"))), None, 16),
        // `wgmma` wants its matrices at multiples of so many bytes.
        Some(arch) => (
            quote!(all(target_arch = "nvptx64", target_feature = "sm_90a")),
            Some(quote!(.only_for(#arch))),
            1024,
        ),
    };
    let dynamic = format!(".extern .shared .align {alignment} .b8 dynamic_shared[];");
    let shared = launch.shared.as_ref().map(|bytes| quote!(.dynamic_shared(#bytes)));
    // The same memory for all kernels of a module, so the declaration may stand there more than once.
    let declaration = launch.shared.as_ref().map(|bytes| {
        quote! {
            // The launch says how many bytes: on the device this is their only use.
            #[cfg(target_arch = "nvptx64")]
            const _: usize = #bytes;
            #[cfg(#here)]
            ::core::arch::global_asm!(#dynamic);
        }
    });
    let (bounds, min_blocks) = match &launch.min_blocks {
        Some(blocks) => (
            format!("//@launch {name} .maxntid {{x}}, {{y}}, {{z}} .minnctapersm {{blocks}}"),
            quote!(, blocks = const (#blocks)),
        ),
        None => (format!("//@launch {name} .maxntid {{x}}, {{y}}, {{z}}"), quote!()),
    };
    Ok(quote! {
        #declaration

        #[cfg(#here)]
        ::core::arch::global_asm!(
            #bounds,
            x = const { let block: [u32; 3] = #block; block[0] },
            y = const { let block: [u32; 3] = #block; block[1] },
            z = const { let block: [u32; 3] = #block; block[2] }
            #min_blocks
        );

        #[cfg(#here)]
        #(#attrs)*
        #[unsafe(no_mangle)]
        #vis unsafe extern "ptx-kernel" fn #name(#inputs) {
            // SAFETY: the caller's promise, and what the kernel's own comments say.
            unsafe { #(#statements)* }
        }

        // So that nothing seems unused in the PTX that does not have it.
        #[cfg(all(target_arch = "nvptx64", not(#here)))]
        #[allow(dead_code)]
        unsafe fn #name(#inputs) {
            const _: [u32; 3] = #block;
            // SAFETY: nobody calls it.
            unsafe { #(#statements)* }
        }

        #[cfg(not(target_arch = "nvptx64"))]
        const _: () = if !::cuda_std::block_fits(#block) {
            panic!("a block has 1 to 1024 threads, at most 64 of them along z")
        };

        #[cfg(not(target_arch = "nvptx64"))]
        unsafe fn #name(#inputs) {
            // SAFETY: the emulator checks every access.
            unsafe { #(#statements)* }
        }

        #[cfg(not(target_arch = "nvptx64"))]
        #(#attrs)*
        #vis static #descriptor: ::cuda_std::Kernel<(#(#types,)*)> = ::cuda_std::Kernel::new(
            concat!(module_path!(), "::", stringify!(#name)),
            stringify!(#name),
            #block,
            // SAFETY: the emulator checks every access.
            |&(#(#names,)*)| unsafe { #name(#(::cuda_std::Parameter::named(#names, stringify!(#names))),*) },
        )#cooperative #shared #arch;
    })
}

/// The element's type and the length of `shared_array![f32; 256]`.
struct SharedArray {
    element: Type,
    length: Expr,
}

impl Parse for SharedArray {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        let element = input.parse()?;
        input.parse::<Token![;]>()?;
        Ok(SharedArray { element, length: input.parse()? })
    }
}

/// An array in the block's shared memory: `shared_array![f32; TILE * TILE]` is a
/// `SharedArray<f32, { TILE * TILE }>`, the same for all threads of a block, unwritten at first.
///
/// Each place in the source is one array, also when it is reached more than once. The element is `f32`, `u32` or
/// `i32`; the length may use the constants of the file, not those of the function.
#[proc_macro]
pub fn shared_array(input: TokenStream) -> TokenStream {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let SharedArray { element, length } = parse_macro_input!(input as SharedArray);
    let name = format!("shared_array_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let declaration = format!(".shared .align 16 .b8 {name}[{{bytes}}];");
    let address = format!("mov.u32 {{address}}, {name};");
    quote! {{
        // `global_asm!` cannot stand in a function, a module can.
        mod shared_array {
            #[allow(unused_imports)]
            use super::*;
            pub type __Array = ::cuda_std::SharedArray<#element, { #length }>;
            #[cfg(target_arch = "nvptx64")]
            ::core::arch::global_asm!(
                #declaration,
                bytes = const ::core::mem::size_of::<#element>() * (#length)
            );
        }
        #[cfg(target_arch = "nvptx64")]
        {
            let address: u32;
            // SAFETY: takes an address, nothing else.
            unsafe {
                ::core::arch::asm!(
                    #address,
                    address = out(reg32) address,
                    options(pure, nomem, nostack, preserves_flags),
                )
            };
            shared_array::__Array::from_address(address)
        }
        #[cfg(not(target_arch = "nvptx64"))]
        {
            static SITE: ::cuda_std::memory::SharedSite = ::cuda_std::memory::SharedSite::new();
            shared_array::__Array::at(&SITE)
        }
    }}
    .into()
}
