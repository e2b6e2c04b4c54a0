//! The attribute that marks an end-to-end test.

use proc_macro::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, Ident, ItemFn, Lit, Meta, Token, parse_macro_input};

/// Marks a function without arguments, `async` or not, as an end-to-end test. `pombo_tests::harness` finds and runs it.
///
/// Options, separated by commas:
///
/// - `multi_thread`: its runtime has two threads; otherwise it has one.
/// - `slow`: it takes long, so it is among the first to be started.
/// - `alone`: no other test runs at the same time. Such tests are the last.
/// - `drill`: it is run only when drills are asked for.
/// - `chromium`: it needs Chromium. Without one it is skipped.
///
/// `#[ignore = "why"]` works as it does with `#[test]`.
#[proc_macro_attribute]
pub fn scenario(options: TokenStream, item: TokenStream) -> TokenStream {
    let options = parse_macro_input!(options with Punctuated::<Ident, Token![,]>::parse_terminated);
    let function = parse_macro_input!(item as ItemFn);
    expand(&options, function).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(options: &Punctuated<Ident, Token![,]>, mut function: ItemFn) -> Result<proc_macro2::TokenStream, Error> {
    const KNOWN: [&str; 5] = ["multi_thread", "slow", "alone", "drill", "chromium"];
    if let Some(unknown) = options.iter().find(|option| KNOWN.iter().all(|known| *option != known)) {
        return Err(Error::new(unknown.span(), format!("expected one of {}", KNOWN.join(", "))));
    }
    if !function.sig.inputs.is_empty() {
        return Err(Error::new(function.sig.inputs.span(), "a scenario takes no arguments"));
    }
    let [multi_thread, slow, alone, drill, chromium] = KNOWN.map(|known| options.iter().any(|option| option == known));
    let ignored = match take_ignore(&mut function.attrs)? {
        Some(reason) => quote!(::core::option::Option::Some(#reason)),
        None => quote!(::core::option::Option::None),
    };
    let name = &function.sig.ident;
    let call = if function.sig.asyncness.is_some() { quote!(#name().await) } else { quote!(#name()) };
    Ok(quote! {
        ::pombo_tests::harness::inventory::submit! {
            ::pombo_tests::harness::Scenario {
                module: ::core::module_path!(),
                function: ::core::stringify!(#name),
                multi_thread: #multi_thread,
                slow: #slow,
                alone: #alone,
                drill: #drill,
                chromium: #chromium,
                ignored: #ignored,
                run: || ::std::boxed::Box::pin(async { #call; }),
            }
        }

        #function
    })
}

/// Takes `#[ignore = "why"]` off a function; gives the reason.
fn take_ignore(attributes: &mut Vec<Attribute>) -> Result<Option<String>, Error> {
    let Some(place) = attributes.iter().position(|attribute| attribute.path().is_ident("ignore")) else {
        return Ok(None);
    };
    let attribute = attributes.remove(place);
    match &attribute.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(reason), .. }) => Ok(Some(reason.value())),
            other => Err(Error::new(other.span(), "expected a text")),
        },
        other => Err(Error::new(other.span(), "say why: #[ignore = \"…\"]")),
    }
}
