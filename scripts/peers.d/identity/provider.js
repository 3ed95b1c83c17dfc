// An OpenID provider for tests: `node provider.js settings.json` serves until it is ended.
//
// The settings say where it listens, its clients, its signing keys, and what it knows of accounts:
// {"port", "issuer", "clients", "jwks", "accounts": {"anna": {"email": …, "groups": […]}}, "audience"}
// Who signs in does so by the provider's own form, with a name of an account and any password.
import { readFileSync } from "node:fs";
import Provider from "oidc-provider";

const settings = JSON.parse(readFileSync(process.argv[2], "utf8"));

const provider = new Provider(settings.issuer, {
  clients: settings.clients,
  jwks: settings.jwks,
  cookies: { keys: ["only for tests"] },
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "groups"] },
  scopes: ["openid", "email", "profile", "calls"],
  async findAccount(_, id) {
    const known = settings.accounts[id];
    return known && { accountId: id, claims: async () => ({ sub: id, ...known }) };
  },
  features: {
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: "calls",
        audience: resource,
        accessTokenFormat: "jwt",
        accessTokenTTL: settings.tokenSeconds ?? 600,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
provider.listen(settings.port, "127.0.0.1", () => console.log("ready"));
