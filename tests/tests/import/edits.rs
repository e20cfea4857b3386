//! What a person changes of sites that are not imported whole, as the report says.

/// What cannot be compared like this, and why.
pub(super) const ELSEWHERE: &[(&str, &str)] = &[
    ("broker_streams", "most of it is no HTTP"),
    ("stream_storage", "most of it is no HTTP"),
    (
        "checked_upstreams",
        "its servers are down until they were probed",
    ),
    ("grpc_and_web", "its servers speak HTTP/2"),
];

/// A site, and what is done before it is imported.
pub(super) struct Edited {
    pub(super) name: &'static str,
    /// Directives that `--without` leaves out.
    pub(super) without: &'static [&'static str],
    /// Lines, and what stands in their places.
    pub(super) edits: &'static [(&'static str, &'static str)],
}

const fn site(
    name: &'static str,
    without: &'static [&'static str],
    edits: &'static [(&'static str, &'static str)],
) -> Edited {
    Edited {
        name,
        without,
        edits,
    }
}

pub(super) const SITES: &[Edited] = &[
    site(
        "jitsi",
        &[],
        &[("/$custom_index break;", "/index.html break;")],
    ),
    site("mastodon", &["proxy_cache"], &[]),
    site("team_chat", &["proxy_cache"], &[]),
    site("blog_microcache", &["proxy_cache"], &[]),
    site("next_app", &["proxy_cache"], &[]),
    site("staging_gate", &["sub_filter"], &[]),
    site("notebooks_subpaths", &["sub_filter"], &[]),
    site(
        "brotli_landing",
        &["more_set_headers", "more_clear_headers"],
        &[],
    ),
    site(
        "api_key_limits",
        &["limit_rate"],
        &[("limit=$limit_req_status conn=$limit_conn_status ", "")],
    ),
    site(
        "behind_cdn",
        &["ssl_verify_client", "ssl_client_certificate"],
        &[],
    ),
    site(
        "docker_dns",
        &[],
        &[
            // The names of containers exist nowhere else.
            ("$web_upstream  web;", "$web_upstream http://web:3000;"),
            (
                "proxy_pass http://$web_upstream:3000$request_uri;",
                "proxy_pass $web_upstream$request_uri;",
            ),
            (
                "set $upstream_app admin;",
                "set $upstream_url http://admin:9000;",
            ),
            (
                "proxy_pass $upstream_proto://$upstream_app:$upstream_port;",
                "proxy_pass $upstream_url;",
            ),
        ],
    ),
    site(
        "forward_auth",
        &["auth_request", "auth_request_set"],
        &[
            ("proxy_set_header X-User  $user;", ""),
            ("proxy_set_header X-Email $email;", ""),
            ("add_header Set-Cookie $auth_cookie;", ""),
            ("            internal;\n", ""),
        ],
    ),
    site(
        "fpm_and_api",
        &["fastcgi_param", "fastcgi_hide_header"],
        &[
            ("fastcgi_pass php:9000;", "proxy_pass http://php:80;"),
            ("index index.php index.html;", "index index.html;"),
        ],
    ),
    site(
        "legacy_shop",
        &["valid_referers"],
        &[
            ("if ($invalid_referer) {", "if ($arg_never = always) {"),
            ("index        index.html index.jsp;", ""),
        ],
    ),
    site(
        "maintenance_switch",
        &[],
        &[
            (
                "if (-f /var/www/maintenance/on) {\n      set $maintenance \"M\";\n    }",
                "",
            ),
            (
                "location /protected-files/ {\n      internal;",
                "location /protected-files/ {\n      deny all;",
            ),
        ],
    ),
    site(
        "moved_pages",
        &[],
        &[("rewrite ^/(.+)/$ /$1 permanent;", "")],
    ),
    site(
        "saas_platform",
        &[],
        &[
            ("proxy_pass $backend;", "proxy_pass http://127.0.0.1:8099;"),
            (
                "alias /srv/customers/$customer/static/;",
                "alias /srv/customers/static/;",
            ),
        ],
    ),
    site(
        "tenants_by_name",
        &[],
        &[("/srv/tenants/$tenant/", "/srv/tenants/")],
    ),
    site(
        "thumbnails",
        &[
            "proxy_cache",
            "limit_rate",
            "secure_link",
            "secure_link_md5",
        ],
        &[
            ("if ($secure_link = \"\")  { return 403; }", ""),
            ("if ($secure_link = \"0\") { return 410; }", ""),
            ("/none$webp ", ""),
        ],
    ),
    site(
        "video_portal",
        &["mp4", "limit_rate"],
        &[("expires $expires_by_type;", "")],
    ),
    site("webhook_inbox", &[], &[("proxy_method HEAD;", "")]),
    site(
        "nextcloud",
        &[],
        &[(
            "index index.php index.html /index.php$request_uri;",
            "index index.html;",
        )],
    ),
];

/// What is done to a site, if anything is.
pub(super) fn of(name: &str) -> Option<&'static Edited> {
    SITES.iter().find(|site| site.name == name)
}
