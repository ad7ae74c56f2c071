import { expect, test } from "vitest";
import { Comeback, verdict } from "../src/comeback.js";

test("a server that drains is returned to, a refusal is not, an expired login is renewed", () => {
  expect([1001, 1006, 1011, 1012, 4408].map(verdict)).toEqual(Array(5).fill("return"));
  expect([1003, 1007, 1009, 4403, 4409, 4413, 4429].map(verdict)).toEqual(Array(7).fill("stay away"));
  expect(verdict(4401)).toBe("renew");
});

test("delays double to five seconds and end with the patience", () => {
  const comeback = new Comeback(20);
  const delays = Array.from({ length: 7 }, () => comeback.delay(0, 0));
  expect(delays).toEqual([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5]);
  expect(comeback.delay(19, 0)).toBe(1);
  expect(comeback.delay(20, 0)).toBeNull();
  comeback.worked();
  expect(comeback.delay(100, 1)).toBe(0.05);
});

test("a login is renewed once until a socket has worked", () => {
  const comeback = new Comeback(20);
  expect([comeback.renew(), comeback.renew()]).toEqual([true, false]);
  comeback.worked();
  expect(comeback.renew()).toBe(true);
});
