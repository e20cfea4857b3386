//! The page that explains this example shows it as it is.

#[test]
fn the_page_shows_the_code_and_the_configuration_of_this_folder() {
    let page = include_str!("../../../docs/write-a-hook.md");
    for (name, text) in [
        ("lib.rs", include_str!("../src/lib.rs")),
        ("toy.toml", include_str!("../toy.toml")),
        ("waypost.toml", include_str!("../waypost.toml")),
    ] {
        assert!(
            page.contains(text),
            "docs/write-a-hook.md and examples/custom-hook/{name} differ"
        );
    }
}
