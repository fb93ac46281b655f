'use strict';

// Prints, as JSON, every method that the packages let a program call: of the
// classes they export, of the classes that those hand out, and their functions.
// The packages' own type declarations say what is there and what is private; the
// packages as they are loaded say whether it is really there.

const path = require('node:path');
const ts = require('typescript');

const packages = ['azure-iothub', 'azure-iot-device', 'azure-iot-device-mqtt'];
// What a client hands out may be declared here.
const shared = ['azure-iot-common'];
// From these on, what a class inherits is Node's.
const ofNode = new Set([Object.prototype, Function.prototype, require('node:events'), require('node:events').prototype]);

const program = ts.createProgram([...packages, ...shared].flatMap(declarationsOf), {
  // Nothing but these declarations is read: what comes from elsewhere is not theirs.
  noResolve: true, noLib: true, types: [], module: ts.ModuleKind.CommonJS,
});
const checker = program.getTypeChecker();
const listed = new Map(); // id -> method
const followed = new Set(); // classes that no package exports

for (const name of packages) {
  const declared = checker.getExportsOfModule(checker.getSymbolAtLocation(sourceOf(entryOf(name))));
  declared.map(resolved).forEach((symbol, i) => listExport(name, declared[i].name, symbol));
  for (const [exported, value] of Object.entries(require(name))) {
    if (value !== undefined && !declared.some((symbol) => symbol.name === exported)) {
      throw new Error(`${name} exports ${exported}, but does not declare it`);
    }
  }
}
process.stdout.write(JSON.stringify([...listed.values()], null, 1));

function listExport(name, exported, symbol) {
  const place = { module: name, path: [exported] };
  const is = (flag) => (symbol.flags & flag) !== 0;
  if (is(ts.SymbolFlags.Class)) {
    listClass(name, exported, symbol, place);
  } else if (is(ts.SymbolFlags.Function)) {
    list(name, exported, symbol, place);
  } else if (is(ts.SymbolFlags.ValueModule)) {
    for (const member of checker.getExportsOfModule(symbol)) {
      list(name, `${exported}.${member.name}`, member, inside(place, member.name));
    }
  }
}

function listClass(name, exported, symbol, place) {
  listMembers(name, `${exported}.`, checker.getTypeOfSymbol(symbol), place);
  listInstance(name, exported, symbol, place);
}

function listInstance(name, exported, symbol, place) {
  listMembers(name, `${exported}#`, checker.getDeclaredTypeOfSymbol(symbol), inside(place, 'prototype'));
}

// listMembers lists the methods of a class or of its instances, inherited ones
// too, and the instances of the classes that they return or hold.
function listMembers(name, prefix, type, place) {
  const declared = new Map(checker.getPropertiesOfType(type).map((member) => [member.name, member]));
  for (const member of declared.values()) {
    if (!isPublic(member)) {
      continue;
    }
    if (member.flags & ts.SymbolFlags.Method) {
      list(name, prefix + member.name, member, inside(place, member.name));
    } else {
      listHandedOut(name, member);
    }
  }
  for (const undeclared of methodsOf(at(place)).filter((each) => !declared.has(each) && !each.startsWith('_'))) {
    list(name, prefix + undeclared, undefined, inside(place, undeclared));
  }
}

// listHandedOut lists the classes that no package exports, but whose instances a
// program gets from a function or a property.
function listHandedOut(name, symbol) {
  const type = checker.getTypeOfSymbol(symbol);
  const signatures = type.getCallSignatures();
  const types = signatures.length > 0 ? signatures.map((signature) => signature.getReturnType()) : [type];
  for (const made of types.map((each) => each.getSymbol())) {
    if (made && made.flags & ts.SymbolFlags.Class) {
      listUnexported(name, made);
    }
  }
}

function listUnexported(name, symbol) {
  const file = symbol.valueDeclaration.getSourceFile().fileName.replace(/\.d\.ts$/, '.js');
  const constructor = require(file)[symbol.name];
  if (!followed.has(symbol) && !packages.some((each) => Object.values(require(each)).includes(constructor))) {
    followed.add(symbol);
    listInstance(name, symbol.name, symbol, { module: file, path: [symbol.name] });
  }
}

function list(name, label, symbol, place) {
  const id = `${name} ${label}`;
  if (listed.has(id)) {
    return;
  }
  if (typeof at(place) !== 'function') {
    throw new Error(`${id} is declared, but the package does not have it`);
  }
  const tags = symbol ? symbol.getJsDocTags(checker).map((tag) => tag.name) : [];
  listed.set(id, { id, internal: tags.includes('private'), ...place });
  if (symbol) {
    listHandedOut(name, symbol);
  }
}

// isPublic says whether TypeScript lets a program use a member. Node's own, and
// what is private by its name, are left out.
function isPublic(member) {
  const declaration = member.valueDeclaration;
  return declaration !== undefined && !member.name.startsWith('_') && member.name !== 'prototype' &&
    !(ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected));
}

function methodsOf(holder) {
  const found = new Set();
  for (; holder && !ofNode.has(holder); holder = Object.getPrototypeOf(holder)) {
    Object.entries(Object.getOwnPropertyDescriptors(holder))
      .filter(([name, { value }]) => typeof value === 'function' && name !== 'constructor')
      .forEach(([name]) => found.add(name));
  }
  return [...found];
}

function inside(place, name) {
  return { module: place.module, path: [...place.path, name] };
}

function at({ module, path: names }) {
  return names.reduce((holder, name) => holder && holder[name], require(module));
}

function resolved(symbol) {
  return symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
}

function directoryOf(name) {
  return path.dirname(require.resolve(`${name}/package.json`));
}

function declarationsOf(name) {
  const directory = directoryOf(name);
  return ts.sys.readDirectory(directory, ['.d.ts'], ['node_modules']);
}

function entryOf(name) {
  return path.join(directoryOf(name), require(`${name}/package.json`).typings);
}

function sourceOf(file) {
  return program.getSourceFile(file);
}
