/** This page's client: the server is where the page came from, and the login is the browser's cookie. */
import { Client } from "@netra-apex/client";

/** The page's own address without its last part, under whatever root path the server has. */
function base(): string {
  return new URL(".", document.baseURI).href.replace(/\/$/, "");
}

export const netra = new Client({ url: base() });
