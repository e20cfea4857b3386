//! The macros that make a type the plugin of a crate.
//!
//! Each names the optional exports that the type has a use for. What is not named is not exported,
//! and the host does not call it. Once per crate; outside of WebAssembly they only check the types,
//! so that unit tests of several plugins link into one program.

/// Makes a type the policy of this plugin: `export!(Mine)` needs [`Policy`](crate::Policy).
///
/// Optional exports, in any combination, as in `export!(Mine, failures, keeper)`: `failures`
/// ([`Failures`](crate::Failures)), `observer` ([`Observer`](crate::Observer)), `member_changes`
/// ([`MemberChanges`](crate::MemberChanges)), `keeper` ([`Keeper`](crate::Keeper)), `ticker`
/// ([`Ticker`](crate::Ticker)), `file_changes` ([`FileChanges`](crate::FileChanges)), `describe`
/// ([`Describe`](crate::Describe)).
#[macro_export]
macro_rules! export {
    ($plugin:ident $(, $extra:ident)* $(,)?) => {
        $crate::__export!(Policy as TakesEndpoints, $plugin, members balancer $($extra)*);
    };
}

/// Makes a type the filter of this plugin: it needs [`Filter`](crate::Filter). Optional exports as
/// for [`export!`](crate::export), without `failures` and `observer`.
#[macro_export]
macro_rules! export_filter {
    ($plugin:ident $(, $extra:ident)* $(,)?) => {
        $crate::__export!(Filter as TakesEndpoints, $plugin, members filter $($extra)*);
    };
}

/// Makes a type the scorer of this plugin: it needs [`Scorer`](crate::Scorer). Optional exports as
/// for [`export!`](crate::export), without `failures` and `observer`.
#[macro_export]
macro_rules! export_scorer {
    ($plugin:ident $(, $extra:ident)* $(,)?) => {
        $crate::__export!(Scorer as TakesEndpoints, $plugin, members scorer $($extra)*);
    };
}

/// Makes a type the hook of this plugin: `export_hook!(Mine, on_request)` needs
/// [`Hook`](crate::Hook) and [`OnRequest`](crate::OnRequest).
///
/// Further exports, in any combination: `on_check` ([`OnCheck`](crate::OnCheck)), `on_response`
/// ([`OnResponse`](crate::OnResponse)), `on_end` ([`OnEnd`](crate::OnEnd)), `keeper`
/// ([`Keeper`](crate::Keeper)), `ticker` ([`Ticker`](crate::Ticker)), `file_changes`
/// ([`FileChanges`](crate::FileChanges)), `describe` ([`Describe`](crate::Describe)).
#[macro_export]
macro_rules! export_hook {
    ($plugin:ident $(, $extra:ident)* $(,)?) => {
        $crate::__export!(Hook as TakesPlaces, $plugin, hook $($extra)*);
    };
}

/// The component of a plugin, with these exports.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($kind:ident as $takes:ident, $plugin:ident, $($export:ident)*) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: $crate::guest::Slot<$plugin> =
                    const { $crate::guest::Slot::new(None) };
            }
            struct Component;
            impl $crate::guest::Component for Component {
                type Plugin = $plugin;
                fn slot() -> &'static ::std::thread::LocalKey<$crate::guest::Slot<$plugin>> {
                    &INSTANCE
                }
                fn configure(
                    settings: $crate::Settings,
                ) -> ::std::result::Result<($plugin, $crate::Sharing), $crate::SettingsError> {
                    let plugin = <$plugin as $crate::$kind>::configure(settings)?;
                    let sharing = <$plugin as $crate::$kind>::sharing(&plugin);
                    Ok((plugin, sharing))
                }
            }
            $crate::__export!(@ $takes $kind $plugin);
            $crate::__export!(# plugin Component);
            $($crate::__export!(# $export Component);)*
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn is<P: $crate::$kind>() {}
            is::<$plugin>();
            $($crate::__export!(? $export $plugin);)*
        };
    };

    (@ TakesEndpoints $kind:ident $plugin:ident) => {
        impl $crate::guest::TakesEndpoints for Component {
            fn update(
                plugin: &mut $plugin,
                endpoints: ::std::vec::Vec<$crate::Endpoint>,
            ) {
                <$plugin as $crate::$kind>::update(plugin, endpoints);
            }
        }
    };
    (@ TakesPlaces $kind:ident $plugin:ident) => {};

    (# plugin $component:ident) => {
        $crate::bindings::plugin::export_plugin!(
            $component with_types_in $crate::bindings::plugin);
    };
    (# members $component:ident) => {
        $crate::bindings::members::export_members!(
            $component with_types_in $crate::bindings::members);
    };
    (# balancer $component:ident) => {
        $crate::bindings::balancer::export_balancer!(
            $component with_types_in $crate::bindings::balancer);
    };
    (# filter $component:ident) => {
        $crate::bindings::filter::export_filter!(
            $component with_types_in $crate::bindings::filter);
    };
    (# scorer $component:ident) => {
        $crate::bindings::scorer::export_scorer!(
            $component with_types_in $crate::bindings::scorer);
    };
    (# hook $component:ident) => {
        $crate::bindings::hook::export_hook!($component with_types_in $crate::bindings::hook);
    };
    (# describe $component:ident) => {
        $crate::bindings::description::export_description!(
            $component with_types_in $crate::bindings::description);
    };
    (# member_changes $component:ident) => {
        $crate::bindings::member_changes::export_member_changes!(
            $component with_types_in $crate::bindings::member_changes);
    };
    (# failures $component:ident) => {
        $crate::bindings::failures::export_failures!(
            $component with_types_in $crate::bindings::failures);
    };
    (# observer $component:ident) => {
        $crate::bindings::observer::export_observer!(
            $component with_types_in $crate::bindings::observer);
    };
    (# keeper $component:ident) => {
        $crate::bindings::keeper::export_keeper!(
            $component with_types_in $crate::bindings::keeper);
    };
    (# ticker $component:ident) => {
        $crate::bindings::ticker::export_ticker!(
            $component with_types_in $crate::bindings::ticker);
    };
    (# file_changes $component:ident) => {
        $crate::bindings::file_changes::export_file_changes!(
            $component with_types_in $crate::bindings::file_changes);
    };
    (# on_request $component:ident) => {
        $crate::bindings::on_request::export_on_request!(
            $component with_types_in $crate::bindings::on_request);
    };
    (# on_check $component:ident) => {
        $crate::bindings::on_check::export_on_check!(
            $component with_types_in $crate::bindings::on_check);
    };
    (# on_response $component:ident) => {
        $crate::bindings::on_response::export_on_response!(
            $component with_types_in $crate::bindings::on_response);
    };
    (# on_request_body $component:ident) => {
        $crate::bindings::on_request_body::export_on_request_body!(
            $component with_types_in $crate::bindings::on_request_body);
    };
    (# on_response_body $component:ident) => {
        $crate::bindings::on_response_body::export_on_response_body!(
            $component with_types_in $crate::bindings::on_response_body);
    };
    (# on_end $component:ident) => {
        $crate::bindings::on_end::export_on_end!(
            $component with_types_in $crate::bindings::on_end);
    };

    (? members $plugin:ident) => {};
    (? balancer $plugin:ident) => {};
    (? filter $plugin:ident) => {};
    (? scorer $plugin:ident) => {};
    (? hook $plugin:ident) => {};
    (? describe $plugin:ident) => { $crate::__export!(: Describe $plugin); };
    (? member_changes $plugin:ident) => { $crate::__export!(: MemberChanges $plugin); };
    (? failures $plugin:ident) => { $crate::__export!(: Failures $plugin); };
    (? observer $plugin:ident) => { $crate::__export!(: Observer $plugin); };
    (? keeper $plugin:ident) => { $crate::__export!(: Keeper $plugin); };
    (? ticker $plugin:ident) => { $crate::__export!(: Ticker $plugin); };
    (? file_changes $plugin:ident) => { $crate::__export!(: FileChanges $plugin); };
    (? on_request $plugin:ident) => { $crate::__export!(: OnRequest $plugin); };
    (? on_check $plugin:ident) => { $crate::__export!(: OnCheck $plugin); };
    (? on_response $plugin:ident) => { $crate::__export!(: OnResponse $plugin); };
    (? on_request_body $plugin:ident) => { $crate::__export!(: OnRequestBody $plugin); };
    (? on_response_body $plugin:ident) => { $crate::__export!(: OnResponseBody $plugin); };
    (? on_end $plugin:ident) => { $crate::__export!(: OnEnd $plugin); };
    (: $trait:ident $plugin:ident) => {
        const _: () = {
            const fn is<P: $crate::$trait>() {}
            is::<$plugin>();
        };
    };
}
