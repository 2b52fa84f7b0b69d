return 1
----
return {KEYS, ARGV}
----
return {1,2,nil,4}
----
return {1.9,-1.9,'a',true,false,{},{{}}}
----
return {ok='a\r\nb'}
----
return {err='MY error'}
----
return {err='one'}
----
return {double=1.5}
----
return {double=3}
----
return {double=1e300}
----
return {double=0.1}
----
return {map={a=1}}
----
return {set={a=true}}
----
return {map={}}
----
return {set={}}
----
return {big_number='12345678901234567890'}
----
return {verbatim_string={string='abc',format='txt'}}
----
return 1e20
----
return -1e20
----
return 0/0
----
return 1/0
----
return 2^53
----
return 9007199254740993
----
return nil
----
return
----
return true
----
return false
----
redis.setresp(3) return true
----
redis.setresp(3) return false
----
redis.setresp(3) return nil
----
redis.setresp(3) return {true,false,1}
----
return function() end
----
return coroutine.create(function() end)
----
return cjson.null
----
return setmetatable({1,2,3},{__index=function(t,k) if k<6 then return k end end})
----
return redis.call('set',KEYS[1],'x')
----
return {redis.call('set',KEYS[1],'x'), redis.call('get',KEYS[1]), redis.call('get',KEYS[2])}
----
return redis.call('get',KEYS[2])
----
return {redis.call('get',KEYS[2]), 1}
----
redis.call('hset',KEYS[1],'a','1','b','2') return redis.call('hgetall',KEYS[1])
----
redis.setresp(3) redis.call('hset',KEYS[1],'a','1') return redis.call('hgetall',KEYS[1])
----
redis.setresp(3) redis.call('hset',KEYS[1],'a','1') return type(redis.call('hgetall',KEYS[1]).map)
----
redis.call('sadd',KEYS[1],'a') redis.setresp(3) return redis.call('smembers',KEYS[1])
----
redis.call('sadd',KEYS[1],'a') redis.setresp(3) return cjson.encode(redis.call('smembers',KEYS[1]))
----
redis.setresp(3) return tostring(redis.call('get',KEYS[2]))
----
return tostring(redis.call('get',KEYS[2]))
----
return redis.call('set',KEYS[1],3.0)
----
redis.call('set',KEYS[1],0.1) return redis.call('get',KEYS[1])
----
redis.call('set',KEYS[1],1e15) return redis.call('get',KEYS[1])
----
redis.call('set',KEYS[1],1e17) return redis.call('get',KEYS[1])
----
redis.call('set',KEYS[1],-0) return redis.call('get',KEYS[1])
----
redis.call('set',KEYS[1],0.1+0.2) return redis.call('get',KEYS[1])
----
redis.call('set',KEYS[1],123456789.123) return redis.call('get',KEYS[1])
----
return redis.call('nope')
----
return redis.call('get')
----
return redis.call()
----
return redis.pcall()
----
return redis.call({})
----
return redis.call('get',nil)
----
return redis.call('get',true)
----
return redis.call('eval','x',0)
----
return redis.pcall('nope')
----
return redis.pcall('get')
----
return redis.pcall('eval','x',0)
----
return redis.call('config','nope')
----
return redis.call('config','get','maxmemory')
----
return redis.call('object','nope','x')
----
return redis.call('multi')
----
return redis.call('subscribe','x')
----
return redis.call('blpop','x',0)
----
return redis.call('auth','x')
----
redis.call('lpush',KEYS[1],'x') return redis.call('get',KEYS[1])
----
redis.call('hset',KEYS[1],'a','b')
return redis.call('get',KEYS[1])
----
redis.call('hset',KEYS[1],'a','b')
return redis.pcall('get',KEYS[1])
----
redis.call('hset',KEYS[1],'a','b')
return {pcall(redis.call,'get',KEYS[1])}
----
redis.call('hset',KEYS[1],'a','b')
local r = redis.pcall('get',KEYS[1])
return {type(r), r.err, r['ok']}
----
redis.call('set',KEYS[1],'kept') error('after')
----
redis.call('set',KEYS[1],'kept')
local x = redis.call('incr',KEYS[1])
----
error('boo')
----
error({err='x y'})
----
error({err='ERR x'})
----
error('x',0)
----
error('x',2)
----
error(1)
----
error(true)
----
local ok,e=pcall(error,'x') return {tostring(ok),e}
----
local ok,e=pcall(error,{err='abc'}) return {tostring(ok),e}
----
local ok,e=pcall(error,{1,2}) return {tostring(ok),e}
----
local ok,e=pcall(redis.call,'nope') return {type(e), e}
----
local ok,e=pcall(cjson.decode,'x') return {type(e),e}
----
local ok,e=pcall(function() error('x') end) return {type(e),e}
----
local ok,e=pcall(function() return nil + 1 end) return {type(e),e}
----
local ok,e=xpcall(function() error('x') end, function(m) return 'handled '..m end) return {tostring(ok),e}
----
local ok,a,b=pcall(function() return 1,2 end) return {tostring(ok),a,b}
----
return select('#',pcall(function() return 1,nil,nil end))
----
x=1
----
return x
----
string.x=1
----
redis.x=1
----
setmetatable(_G,{})
----
rawset(_G,'a',1)
----
KEYS=1
----
KEYS[1]=1 return KEYS
----
_G.x=1
----
return tostring(_G==_G._G)
----
table.insert(_G,1)
----
getmetatable('').__index=nil
----
getmetatable(_G).__index=nil
----
return tostring(getmetatable('').__index==string)
----
return loadstring('return 5')()
----
return {1,select(2,loadstring('return 1+',"=x"))~=nil}
----
return loadstring('return KEYS[1]')()
----
return loadstring('return unknown_name')()
----
local n=0 return load(function() n=n+1 return ({'return ','7'})[n] end)()
----
return print('x')
----
return getfenv()
----
return setfenv(1,{})
----
return newproxy()
----
return os.time()
----
return os.clock()
----
return io
----
return require('x')
----
return debug
----
return dofile('x')
----
return _VERSION
----
return redis.sha1hex()
----
return redis.sha1hex('')
----
return redis.sha1hex('abc')
----
return redis.sha1hex(1)
----
return redis.sha1hex(1.5)
----
return redis.sha1hex({})
----
return redis.sha1hex('a','b')
----
return redis.log(1)
----
return redis.log('a','b')
----
return redis.log(9,'b')
----
return redis.log(redis.LOG_DEBUG,'b')
----
return redis.setresp(4)
----
return redis.setresp()
----
return redis.setresp('x')
----
return redis.error_reply('My Err')
----
return redis.error_reply('-My Err')
----
return redis.error_reply('ERR')
----
return redis.error_reply('-ERR')
----
return redis.error_reply('')
----
return redis.error_reply(1)
----
return redis.error_reply()
----
return redis.error_reply('a','b')
----
return redis.error_reply('x y').err
----
return redis.status_reply('fine')
----
return redis.status_reply()
----
return redis.status_reply('x').ok
----
return redis.set_repl(1)
----
return redis.set_repl(9)
----
return redis.set_repl()
----
return redis.set_repl(redis.REPL_ALL)
----
return redis.replicate_commands()
----
return redis.acl_check_cmd('get','x')
----
return redis.acl_check_cmd('nope')
----
return redis.acl_check_cmd()
----
return {redis.LOG_DEBUG,redis.LOG_VERBOSE,redis.LOG_NOTICE,redis.LOG_WARNING,redis.REPL_NONE,redis.REPL_AOF,redis.REPL_SLAVE,redis.REPL_REPLICA,redis.REPL_ALL,redis.REDIS_VERSION,redis.REDIS_VERSION_NUM}
----
local r={} for k,v in pairs(redis) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(_G) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(string) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(table) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(math) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(cjson) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(cmsgpack) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(struct) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(bit) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
local r={} for k,v in pairs(coroutine) do r[#r+1]=k..':'..type(v) end table.sort(r) return r
----
return tostring(3.0)..' '..tostring(1e15)..' '..tostring(0.1)..' '..tostring(0.1+0.2)..' '..tostring(1e14)..' '..tostring(99999999999999)..' '..tostring(2^53)..' '..tostring(1/3)..' '..tostring(1e100)..' '..tostring(-1.5e-7)
----
return 3.0 ..' '..1e15 ..' '..0.1 ..' '..(0.1+0.2)..' '..1e14 ..' '..99999999999999 ..' '..2^53 ..' '..1/3
----
local x = 1/3 local s = 'v' s = s .. x return s .. ':' .. x * 3
----
return tostring(nil)..tostring(true)..tostring('x')
----
return tostring(cjson.null)
----
return type(cjson.null)
----
--! drawn at random
return {math.random(),math.random(10),math.random(5,7)}
----
--! drawn at random
return tostring(math.random())..' '..math.random(1000)..' '..math.random(5,700)
----
math.randomseed(5) return tostring(math.random())..' '..math.random(1000)..' '..math.random(5,700)
----
math.randomseed(ARGV[3]) return {math.random(100),math.random(100)}
----
return math.random(0)
----
return math.random(5,1)
----
return math.random(1,2,3)
----
return {math.floor(-1.5),math.ceil(1.2),math.abs(-3),math.max(1,5,3),math.min(4,2),math.fmod(7,3),math.mod(7,3),math.pow(2,10),math.sqrt(16),math.huge}
----
return tostring(math.pi)..tostring(math.log(10))..tostring(math.log10(1000))..tostring(math.exp(1))..tostring(math.sin(1))
----
local f,e=math.frexp(10) return {tostring(f),e,math.ldexp(0.5,3)}
----
local i,f=math.modf(3.7) return {i,tostring(f)}
----
local i,f=math.modf(-3.7) return {i,tostring(f)}
----
return {5 % -3, -5 % 3, 5.5 % 2, 2^10, 7/2}
----
return {10 == '10', 'a' < 'b', '10'+5, '3'*'4', -'2'}
----
return tonumber('0x10')..tonumber('1e1')..tonumber('10',2)..tostring(tonumber('z',36))..tostring(tonumber('  5  '))..tostring(tonumber(''))..tostring(tonumber('5x'))..tostring(tonumber('0b1'))..tostring(tonumber('1_0'))
----
return {tonumber(ARGV[3]),tonumber(ARGV[4])*2,tonumber('nan')==nil,tonumber('inf')}
----
return tonumber()
----
return {tostring(tonumber(nil)),tostring(tonumber({}))}
----
return tonumber('8',8)
----
return tonumber('7fffffff',16)
----
return {unpack({1,2,3})}
----
return {unpack({1,2,3},2)}
----
return {unpack({1,2,3},2,3)}
----
return unpack({},1,1e8)
----
return select('#',unpack({1,nil,3},1,3))
----
return {select(2,'a','b','c')}
----
return {select(-1,'a','b','c')}
----
return select('#')
----
return select(0)
----
return {next({})==nil, next({5})}
----
local t={} for i,v in ipairs({1,2,nil,4}) do t[#t+1]=v end return t
----
return {rawequal('a','a') and 1 or 0, rawget({5},1), #rawset({},1,2)}
----
return type(nil)..type(1)..type('')..type({})..type(print==nil)..type(function() end)
----
--! Luau does not say which function misses an argument
return type()
----
return {assert(1,'x'),assert('y')}
----
return assert(false,'message')
----
return assert(nil)
----
return assert(false,{err='TABLE err'})
----
return string.format('%d %i %5d|%-5d|%05d %s %q %x %X %o %c %e %g %f %.2f %%', 3, 4, 5, 6, 7, 'str', 'q"\n', 255, 255, 8, 65, 1.5, 0.1, 1.5, 2.345)
----
return string.format('%s %s %s', 1, 1.5, 1e15)
----
return string.format('%s', 0.1+0.2)
----
return string.format('%d', 3.7)
----
return string.format('%d', '10')
----
return string.format('%5s|%-5s|%.2s', 'a','b','cdef')
----
return string.format('%s', nil)
----
return string.format('%s', {})
----
return string.format('%d','x')
----
--! Luau does not say which function misses an argument
return string.format('%d')
----
return string.format('%y', 1)
----
return string.format('%.14g %.17g %.3f', 0.1, 0.1, 1e10)
----
return string.format('%.0f', 1e15)
----
return string.rep()
----
return string.rep('x',{})
----
return string.rep('ab',3)
----
return string.rep('x',-1)
----
return string.rep('x',5,',')
----
return {('abc'):upper(),('ABC'):lower(),('abc'):len(),('abc'):reverse(),('abc'):sub(2),('abc'):sub(-2,-1),('abc'):byte(),('abc'):byte(1,-1)}
----
return {string.char(65,66,0,67)}
----
return string.char(256)
----
return {string.find('hello','l'),string.find('hello','l',1,true)}
----
return {string.find('hello','(l)(l)')}
----
return {string.find('hello','xyz')}
----
return {string.find('a.b','.',1,true)}
----
return {string.find('hello','')}
----
return {string.find('hello','',10)}
----
return {string.find('hello','l',-2)}
----
return {string.match('key:123:x','(%a+):(%d+)')}
----
return {string.match('  trim  ','^%s*(.-)%s*$')}
----
return string.match('2024-01-02','%d+-%d+-(%d+)')
----
return {string.gsub('hello world','o','0')}
----
return {string.gsub('hello world','(%w+)','<%1>')}
----
return {string.gsub('hello','l',{l='L'})}
----
return {string.gsub('hello','.',function(c) return c:upper() end,3)}
----
return {string.gsub('abc','%w','%%%0')}
----
return string.gsub('abc','%w','%2')
----
return string.gsub('abc','[','x')
----
return string.gsub('abc','(','x')
----
local t={} for w in string.gmatch('one two three','%a+') do t[#t+1]=w end return t
----
local t={} for k,v in string.gmatch('a=1,b=2','(%w+)=(%w+)') do t[#t+1]=k..v end return t
----
local t={} for w in string.gfind('one two','%a+') do t[#t+1]=w end return t
----
return {#'a\0b', 'a\0b'}
----
return '\65\066\10\'\"\\'
----
return [[long
string]]
----
return [==[ ]] ]==]
----
--[[ comment
over lines ]] return 5
----
return table.concat({1,2,3},',')
----
return table.concat({1.5,0.1+0.2,1e15},',')
----
return table.concat({'a','b','c'},'-',2,3)
----
return table.concat({})
----
return table.concat({{}})
----
return table.concat({1,nil,3})
----
local t={3,1,2} table.sort(t) return t
----
local t={3,1,2} table.sort(t,function(a,b) return a>b end) return t
----
local t={'b',1} table.sort(t)
----
local t={1,2,3} table.insert(t,4) table.insert(t,1,0) return t
----
local t={1,2,3} return {table.remove(t),table.remove(t,1),#t}
----
return {table.remove({})}
----
return {table.getn({1,2}),table.maxn({1,2,[10]=1})}
----
table.insert({1},2,3,4)
----
table.insert({},'x','y')
----
local r={} table.foreachi({5,6},function(i,v) r[#r+1]=i..v end) return r
----
table.setn({},1)
----
local t = setmetatable({},{__index=function(_,k) return k..'!' end,__call=function(_,a) return a*2 end,__tostring=function() return 'me' end,__len=function() return 7 end,__add=function() return 9 end,__concat=function() return 'cat' end,__eq=function() return true end,__lt=function() return true end,__unm=function() return 4 end})
return {t.x,t(4),tostring(t),t+1,t..'x','x'..t,-t}
----
local co=coroutine.create(function(a) local b=coroutine.yield(a+1) return b*2 end)
local _,x=coroutine.resume(co,1) local _,y=coroutine.resume(co,10) return {x,y,coroutine.status(co)}
----
local f=coroutine.wrap(function() for i=1,3 do coroutine.yield(i) end end) return {f(),f(),f()}
----
local co=coroutine.create(function() error('inside') end) local ok,e=coroutine.resume(co) return {tostring(ok),e}
----
local co=coroutine.wrap(function() return redis.call('set',KEYS[1],'co') end) co() return redis.call('get',KEYS[1])
----
local co=coroutine.create(function() pcall(coroutine.yield,1) return 5 end) coroutine.resume(co) return {coroutine.status(co)}
----
--! Luau does not say which variable it is
local a = nil; return a.b
----
--! Luau does not say which variable it is
local a = {} return a.b.c
----
return #nil
----
return nil..'x'
----
return 'x'..nil
----
return {}..'x'
----
return 'x'+1
----
return {}+1
----
return 1+{}
----
return nil+1
----
return -{}
----
return {}<{}
----
return 1<'2'
----
return {}<1
----
local t={} t[nil]=1
----
local t={} t[0/0]=1
----
return ('x'):nope()
----
return nope()
----
--! Luau does not say which variable it is
local f f()
----
--! Luau does not say which variable it is
local t={} t.x()
----
local t={} t:x()
----
for i=1,'x' do end
----
for i=1,10,0 do return 'zero' end
----
return setmetatable(1,{})
----
return getmetatable(1)
----
return setmetatable({},1)
----
return setmetatable(setmetatable({},{__metatable='locked'}),{})
----
return getmetatable(setmetatable({},{__metatable='locked'}))
----
local function f(n) if n==0 then return 0 end return 1+f(n-1) end return f(1000)
----
local function f(n) return f(n+1)+1 end return f(1)
----
local t={} for i=1,200 do t[i]=i end return #t
----
local s=0 for i=10,1,-3 do s=s+i end return s
----
local i=0 while true do i=i+1 if i>5 then break end end return i
----
local i=0 repeat local j=i i=i+1 until j>=3 return i
----
return (function(...) return select('#',...) end)(1,nil,3)
----
local function f(...) local a,b=... return b end return f(1,2)
----
return 1 and 2 or 3
----
return not nil
----
local a<const> = 1
----
return 1 +
----
foo
----
foo bar
----
return 5.5 // 2
----
local x = 5 x += 1
----
return `a`
----
return if true then 1 else 2
----
continue
----
break
----
goto x
----
return 1;;
----
return 1 return 2
----
if true then
----
for i=1,2 do
return i
----
return 'unfinished
----
return [[unfinished
----
--[[ unfinished
----
x = = 1
----
local function end
----
return {1,2
----
f(
----
return 0x
----
return 3..2
----
return 1e
----
return '\400'
----
return ~1
----
return 1 ~= 2
----
return @
----
return $x
----
local t = {1,2;3,a=4,['b']=5} return {#t,t.a,t.b}
----
return 0xff + 0XA
----
local type = 5 local continue = 6 return type + continue
----
local x = 'a'
	.. 'b'
return x
----


error('line three')
----
local function f()
  redis.call('nope')
end
f()
----
local function f()
  error('deep')
end

f()
----
return cjson.encode({1,2,3})
----
return cjson.encode({})
----
return cjson.encode({a=1})
----
return cjson.encode({a={b={}}})
----
return cjson.encode({1,2,nil,4})
----
return cjson.encode({[1]=1,[2]=2,[4]=4})
----
return cjson.encode({[100]=1})
----
cjson.encode_sparse_array(true) return cjson.encode({[100]=1})
----
return cjson.encode({[1.5]=1})
----
return cjson.encode({[0]=1})
----
return cjson.encode({[true]=1})
----
return cjson.encode('a"b\\c/d\b\f\n\r\t\1\127\200')
----
return cjson.encode({1.5,0.1,1e15,1e100,-3,1/3,0.1+0.2,123456789012345})
----
return cjson.encode(0/0)
----
return cjson.encode(1/0)
----
cjson.encode_invalid_numbers(true) return cjson.encode({1/0,-1/0})
----
cjson.encode_invalid_numbers('null') return cjson.encode({1/0})
----
return cjson.encode({true,false,cjson.null})
----
return cjson.encode(nil)
----
return cjson.encode(cjson.null)
----
return cjson.encode(function() end)
----
return cjson.encode({function() end})
----
return cjson.encode(coroutine.create(function() end))
----
return cjson.encode()
----
return cjson.encode(1,2)
----
local t={} t[1]=t return cjson.encode(t)
----
cjson.encode_max_depth(2) return cjson.encode({{{}}})
----
cjson.encode_number_precision(3) return cjson.encode(3.14159)
----
return cjson.encode_number_precision(20)
----
return {cjson.encode_sparse_array()}
----
return {cjson.encode_max_depth(),cjson.decode_max_depth(),cjson.encode_number_precision()}
----
return {tostring(cjson.encode_keep_buffer()),tostring(cjson.encode_invalid_numbers()),tostring(cjson.decode_invalid_numbers())}
----
return cjson.decode('[1,2,3]')
----
return cjson.decode('{"a":[1,{"b":"c"}]}').a[2].b
----
return cjson.decode('"\\u00e9\\ud83d\\ude00\\n\\/"')
----
return cjson.decode('"\\u0000"')
----
return cjson.decode('"\\ud83d"')
----
return cjson.decode('"\\x"')
----
return cjson.decode('"abc')
----
return cjson.decode('x')
----
return cjson.decode('')
----
return cjson.decode(' ')
----
return cjson.decode('[1,2')
----
return cjson.decode('[1 2]')
----
return cjson.decode('{"a" 1}')
----
return cjson.decode('{a:1}')
----
return cjson.decode('{"a":1,}')
----
return cjson.decode('[1,]')
----
return cjson.decode('[]]')
----
return cjson.decode('1 2')
----
return cjson.decode('{"a":}')
----
return {tostring(cjson.decode('1.5')),cjson.decode('-3'),cjson.decode('1e3'),cjson.decode('0x10'),tostring(cjson.decode('012'))}
----
return tostring(cjson.decode('nan'))
----
cjson.decode_invalid_numbers(false) return cjson.decode('0x10')
----
return cjson.decode('-')
----
return cjson.decode('+1')
----
return {tostring(cjson.decode('true')),tostring(cjson.decode('false')),tostring(cjson.decode('null')==cjson.null)}
----
return cjson.decode('nul')
----
return cjson.decode('[null,1]')
----
return #cjson.decode('[null,null,1]')
----
return cjson.decode()
----
return cjson.decode({})
----
return cjson.decode(5)
----
return cjson.decode(string.rep('[',1001)..string.rep(']',1001))
----
cjson.decode_max_depth(2) return cjson.decode('[[[]]]')
----
return cjson.encode(cjson.decode('{"a":[1,2,{"b":null}]}'))
----
local c=cjson.new() c.encode_number_precision(3) return {c.encode(1/3),cjson.encode(1/3)}
----
return cjson.encode(cjson.decode('[]'))
----
return cjson.encode({ok='x',[1]=1})~=nil
----
return cmsgpack.pack(1)
----
return cmsgpack.pack(1,-1,127,128,255,256,65535,65536,4294967295,4294967296,-32,-33,-128,-129,-32768,-32769,-2147483648,-2147483649)
----
return cmsgpack.pack(1.5,0.1,1e300,-0.5)
----
return cmsgpack.pack('a',string.rep('x',31),string.rep('x',32))
----
return #cmsgpack.pack(string.rep('x',255))..#cmsgpack.pack(string.rep('x',256))..#cmsgpack.pack(string.rep('x',65536))
----
return cmsgpack.pack(nil,true,false)
----
return cmsgpack.pack({1,2,3})
----
return cmsgpack.pack({})
----
return cmsgpack.pack({a=1})
----
return cmsgpack.pack({1,2,nil,4})
----
return cmsgpack.pack({[1.5]=1})
----
return cmsgpack.pack({{{}}},{a={1}})
----
local t={} t[1]=t return cmsgpack.pack(t)
----
return cmsgpack.pack(function() end)
----
return cmsgpack.pack()
----
return {cmsgpack.unpack(cmsgpack.pack(1,'a',{1,2},{b=3}))}
----
return cmsgpack.unpack(cmsgpack.pack({1,2,{3}}))
----
local t=cmsgpack.unpack(cmsgpack.pack({a=1,b={2}})) return {t.a,t.b[1]}
----
return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3))}
----
return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3),1)}
----
return {cmsgpack.unpack_one(cmsgpack.pack(1,2,3),2)}
----
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),2)}
----
return {cmsgpack.unpack_limit(cmsgpack.pack(1,2,3),2,1)}
----
return cmsgpack.unpack_one('abc',10)
----
return cmsgpack.unpack_one('abc',-1)
----
return cmsgpack.unpack('\193')
----
return cmsgpack.unpack('\146\1')
----
return cmsgpack.unpack('\217\5ab')
----
return {cmsgpack.unpack('')}
----
return cmsgpack.unpack()
----
return {cmsgpack.unpack('\204\255\205\255\255\206\255\255\255\255\208\255\209\255\255\210\255\255\255\255\211\255\255\255\255\255\255\255\255')}
----
return tostring(cmsgpack.unpack('\207\255\255\255\255\255\255\255\255'))
----
return {tostring(cmsgpack.unpack(cmsgpack.pack(0.1))),tostring(cmsgpack.unpack(cmsgpack.pack(0.5)))}
----
return struct.pack('bBhHlLiI',1,2,3,4,5,6,7,8)
----
return struct.pack('>hH<hH',1,2,3,4)
----
return struct.pack('>I3<i5',1000,-1000)
----
return struct.pack('fd>fd',1.5,2.5,3.5,4.5)
----
return struct.pack('s','abc')
----
return struct.pack('c2c0','abc','xyz')
----
return struct.pack('c5','abc')
----
return struct.pack('bxxb',1,2)
----
return struct.pack('!4bi',1,2)
----
return struct.pack('!bd',1,2)
----
return struct.pack('!3b',1)
----
return struct.pack('i33',1)
----
return struct.pack('y',1)
----
return struct.pack('b')
----
return struct.pack('b','x')
----
return {struct.unpack('bBhH',struct.pack('bBhH',-1,255,-2,65535))}
----
return {struct.unpack('>I2<I2','\1\2\1\2')}
----
return {struct.unpack('s','abc\0def')}
----
return {struct.unpack('s','abc')}
----
return {struct.unpack('Bc0','\3abcdef')}
----
return {struct.unpack('c0','abc')}
----
return {struct.unpack('c3','abcdef')}
----
return {struct.unpack('c','abcdef')}
----
return {struct.unpack('i','abc')}
----
return {struct.unpack('b','abc',2)}
----
return {struct.unpack('b','abc',0)}
----
return {struct.unpack('b','abc',5)}
----
return {tostring(struct.unpack('d',struct.pack('d',0.1))),tostring((struct.unpack('f',struct.pack('f',0.1))))}
----
return {struct.size('bhilfd'),struct.size('!bi'),struct.size('c10')}
----
return struct.size('s')
----
return struct.size('c0')
----
return struct.size('i99')
----
return {bit.tobit(0xffffffff),bit.tobit(0xffffffff+1),bit.tobit(-1),bit.tobit(1e10),bit.tobit(1.5),bit.tobit(2.5)}
----
return {bit.bnot(0),bit.band(0xff,0x0f),bit.bor(1,2,4),bit.bxor(5,3),bit.lshift(1,4),bit.lshift(1,31),bit.lshift(1,32),bit.rshift(-1,28),bit.arshift(-16,2),bit.rol(0x12345678,12),bit.ror(0x12345678,12),bit.bswap(0x12345678)}
----
return {bit.tohex(1),bit.tohex(-1),bit.tohex(255,4),bit.tohex(255,-4),bit.tohex(0xdeadbeef,2)}
----
return bit.band()
----
return bit.band('x')
----
return bit.band('0xff',15)
----
return bit.lshift(1)
----
redis.call('select',3) redis.call('set',KEYS[1],'three') return {redis.call('get',KEYS[1]),redis.call('dbsize')}
----
return redis.call('ping')
----
return redis.call('echo','hello')
----
return redis.call('PING','x')
----
return redis.call('Set',KEYS[1],'1','EX',100)
----
redis.call('set',KEYS[1],'5') return {redis.call('incrby',KEYS[1],3),redis.call('incrbyfloat',KEYS[1],0.5),redis.call('ttl',KEYS[1]),redis.call('exists',KEYS[1],KEYS[2])}
----
redis.call('mset','x1','a','x2','b') return redis.call('mget','x1','x2','x3')
----
redis.call('set','undeclared','v') return redis.call('get','undeclared')
----
for i=1,100 do redis.call('set','k'..i,i) end return redis.call('dbsize')
----
for i=1,50 do redis.call('set','k'..i,i) end local n=0 local c='0' repeat local r=redis.call('scan',c,'match','k*','count',20) c=r[1] n=n+#r[2] until c=='0' return n
----
for i=1,50 do redis.call('set','k'..i,i) end return #redis.call('keys','k1*')
----
redis.call('set','a','1') redis.call('flushall') return {redis.call('dbsize'),redis.call('exists','a')}
----
redis.call('set','a','1') redis.call('flushdb') redis.call('set','b','2') return {redis.call('dbsize'),redis.call('exists','a'),redis.call('get','b')}
----
redis.call('set','only','1') return redis.call('randomkey')
----
return redis.call('type',KEYS[1])
----
redis.call('set',KEYS[1],'x') return redis.call('type',KEYS[1])
----
redis.call('set',KEYS[1],'x') return redis.call('type',KEYS[1]).ok
----
redis.call('set',KEYS[1],'x') return redis.call('rename',KEYS[1],KEYS[2])
----
return redis.call('rename','none','other')
----
return redis.pcall('rename','none','other').err
----
return redis.call('expire',KEYS[1],10)
----
return #redis.call('time')
----
return redis.call('set',KEYS[1],'v','NX','XX')
----
return redis.call('set',KEYS[1])
----
return redis.call('hset',KEYS[1],'a')
----
return redis.call('incr',KEYS[1],'x')
----
redis.call('set',KEYS[1],'abc') return redis.call('incr',KEYS[1])
----
redis.call('set',KEYS[1],'abc') return redis.pcall('incr',KEYS[1])
----
redis.call('set',KEYS[1],'abc') local r=redis.pcall('incr',KEYS[1]) if r.err then return redis.error_reply('WRAPPED '..r.err) end
----
redis.call('set',KEYS[1],'abc') local ok,r=pcall(redis.call,'incr',KEYS[1]) return r
----
return {redis.status_reply('A'),redis.error_reply('B c'),{ok='C'},{err='D e'}}
----
return {{{{1},2},3},4}
----
return {a=1,b=2}
----
return {[1]='a',[2]='b',x='c'}
----
return {1,2,x=3,ok=nil}
----
return ARGV[5]
----
return #ARGV..#KEYS
----
return ARGV[3]+ARGV[4]
----
return math.floor(tonumber(ARGV[4]))
----
local current = redis.call('INCR', KEYS[1])
if tonumber(current) == 1 then redis.call('EXPIRE', KEYS[1], ARGV[3]) end
return {current, redis.call('TTL', KEYS[1])}
----
local limit = tonumber(ARGV[3]) local res = {}
for i=1,12 do local c = redis.call('incr',KEYS[1]) res[i] = c > limit and 0 or 1 end
return res
----
-- redlock unlock
redis.call('set',KEYS[1],ARGV[1])
if redis.call("get",KEYS[1]) == ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end
----
-- redlock extend
redis.call('set',KEYS[1],ARGV[1])
if redis.call("get",KEYS[1]) == ARGV[2] then return redis.call("pexpire",KEYS[1],ARGV[3]) else return 0 end
----
-- rate-limit-redis increment
local totalHits = redis.call("INCR", KEYS[1])
local timeToExpire = redis.call("PTTL", KEYS[1])
if timeToExpire <= 0 or ARGV[1] == "1" then redis.call("PEXPIRE", KEYS[1], tonumber(60000)) timeToExpire = 60000 end
return { totalHits, timeToExpire }
----
-- limits: fixed window
local current
local amount = tonumber(ARGV[3])
current = redis.call("incrby", KEYS[1], amount)
if tonumber(current) == amount then redis.call("expire", KEYS[1], 60) end
return current
----
-- rate-limiter-flexible
redis.call('set', KEYS[1], 0, 'EX', ARGV[3], 'NX')
local consumed = redis.call('incrby', KEYS[1], 2)
local ttl = redis.call('pttl', KEYS[1])
if ttl == -1 then redis.call('expire', KEYS[1], ARGV[3]) ttl = 1000 * ARGV[3] end
return {consumed, ttl > 9000 and ttl <= 10000}
----
-- GCRA
local now = 1000.5 local burst = 5 local emission = 0.25
local tat = tonumber(redis.call('GET', KEYS[1]) or now)
tat = math.max(now, tat) + emission
redis.call('SET', KEYS[1], tat)
return {tostring(tat), redis.call('GET', KEYS[1])}
----
-- token bucket in a hash, with json
local t = redis.call('HMGET', KEYS[1], 'tokens', 'ts')
local tokens = tonumber(t[1]) if tokens == nil then tokens = 10 end
local delta = math.max(0, 105.25 - (tonumber(t[2]) or 100))
tokens = math.min(10, tokens + delta * 0.3) - 1
redis.call('HSET', KEYS[1], 'tokens', tokens, 'ts', 105.25)
redis.call('EXPIRE', KEYS[1], math.ceil(10/0.3)*2)
return cjson.encode({redis.call('HGET',KEYS[1],'tokens'),redis.call('HGET',KEYS[1],'ts')})
----
local function split(s, sep) local r = {} for p in (s..sep):gmatch('(.-)'..sep) do r[#r+1]=p end return r end
return split('a,b,,c', ',')
----
local packed = cmsgpack.pack({name='x',opts={1,2,3}}) local job = cmsgpack.unpack(packed) return {job.name, #job.opts}
----
local s = {} for i = 1, 10 do s[#s+1] = string.char(96 + i) end return table.concat(s)
----
local a, b, c = (function() return 1, 2, 3 end)() return {a, b, c}
----
return tostring(1e15) .. '|' .. 1e15 .. '|' .. string.format('%.0f', 1e15) .. '|' .. 123456789012345678
----
return (2^31) .. ',' .. (2^63) .. ',' .. -1.5 .. ',' .. 1e-10
----
#!lua
return 1
----
#!lua flags=no-writes
return redis.call('set',KEYS[1],'x')
----
#!lua flags=no-writes,allow-stale
return redis.call('get',KEYS[1])
----
#!lua flags=nope
return 1
----
#!python
return 1
----
#!lua name=x
return 1
----
#!lua
error('line two')
----
#!lua
----
return redis.call('sort','none')
----
redis.call('rpush',KEYS[1],'3','1','2') return redis.call('sort',KEYS[1])
----
redis.call('rpush',KEYS[1],'3','1','2') return redis.call('lrange',KEYS[1],0,-1)
----
redis.call('zadd',KEYS[1],'1.5','a','2','b') return redis.call('zrange',KEYS[1],0,-1,'withscores')
----
redis.setresp(3) redis.call('zadd',KEYS[1],'1.5','a','2','b') return redis.call('zrange',KEYS[1],0,-1,'withscores')
----
redis.setresp(3) redis.call('zadd',KEYS[1],'1.5','a') return redis.call('zscore',KEYS[1],'a').double
----
redis.setresp(3) return redis.call('sismember',KEYS[1],'a')
----
redis.call('zadd',KEYS[1],1.5,'a') return redis.call('zincrby',KEYS[1],0.25,'a')
----
return redis.call('publish','nobody','x')
----
return redis.call('lpop',KEYS[1])
----
redis.call('rpush',KEYS[1],'a','b','c') return {redis.call('lpop',KEYS[1]),redis.call('rpop',KEYS[1]),redis.call('llen',KEYS[1])}
----
redis.call('rpush',KEYS[1],'a') redis.call('lpop',KEYS[1]) return redis.call('exists',KEYS[1])
----
redis.call('sadd',KEYS[1],'a','b') return {redis.call('sismember',KEYS[1],'a'),redis.call('scard',KEYS[1]),redis.call('srem',KEYS[1],'a','b'),redis.call('exists',KEYS[1])}
----
redis.call('zadd',KEYS[1],10,'job1',20,'job2') local j=redis.call('zrangebyscore',KEYS[1],0,15) for _,v in ipairs(j) do redis.call('zrem',KEYS[1],v) redis.call('lpush',KEYS[2],v) end return {redis.call('zcard',KEYS[1]),redis.call('lrange',KEYS[2],0,-1)}
----
-- BullMQ: addJob, in short
local jobId = redis.call("INCR", KEYS[1])
local jobKey = KEYS[2] .. ":" .. jobId
local opts = cmsgpack.unpack(cmsgpack.pack({attempts = 3, delay = 0}))
redis.call("HMSET", jobKey, "name", ARGV[1], "data", cjson.encode({a = 1}), "attempts", opts.attempts, "timestamp", 1700000000000)
redis.call("LPUSH", KEYS[2] .. ":wait", jobId)
return {jobId, redis.call("HGETALL", jobKey), redis.call("LRANGE", KEYS[2] .. ":wait", 0, -1)}
----
-- BullMQ: moveToActive, in short
redis.call("RPUSH", KEYS[1], "1", "2", "3")
local jobId = redis.call("RPOPLPUSH", KEYS[1], KEYS[2])
if jobId then
  redis.call("SET", KEYS[2] .. ":" .. jobId .. ":lock", ARGV[1], "PX", 30000)
  redis.call("HSET", KEYS[2] .. ":" .. jobId, "processedOn", 1700000000123)
  return {jobId, redis.call("HGET", KEYS[2] .. ":" .. jobId, "processedOn"), redis.call("LLEN", KEYS[1])}
end
----
-- sliding window log
local now = 1700000000000
for i = 1, 5 do redis.call('ZADD', KEYS[1], now + i, now + i .. '-' .. i) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now + 2)
redis.call('PEXPIRE', KEYS[1], 60000)
return {redis.call('ZCARD', KEYS[1]), redis.call('ZRANGE', KEYS[1], 0, -1)}
----
-- limits: moving window
redis.call('LPUSH', KEYS[1], 1700000000.5, 1700000001.25)
local entries = redis.call('LRANGE', KEYS[1], 0, 9)
local n = 0
for idx = 1, #entries do if tonumber(entries[idx]) >= 1700000001 then n = n + 1 end end
return {n, entries[#entries]}
----
-- session lock with an owner and a count
local owner = redis.call('HGET', KEYS[1], 'owner')
if not owner or owner == ARGV[1] then
  redis.call('HSET', KEYS[1], 'owner', ARGV[1])
  local count = redis.call('HINCRBY', KEYS[1], 'count', 1)
  redis.call('PEXPIRE', KEYS[1], 30000)
  return {count, redis.call('PTTL', KEYS[1]) > 29000}
end
return redis.call('PTTL', KEYS[1])
----
local big = {} for i = 1, 1000 do big[i] = i end return redis.call('rpush', KEYS[1], unpack(big))
----
return #('x'):rep(100000)
----
local t = {} for i = 1, 10 do t['k' .. i] = i end local n = 0 for _ in pairs(t) do n = n + 1 end return n
----
local s = '' for i = 1, 5 do s = s .. i end return s
----
return -2 ^ 2 .. ''
----
return 1 .. 2
----
return ('a' .. 1 + 2 .. 'b')
----
local t = {n = 1.5} t.n = t.n .. '' return t.n
----
return tostring(1e300 * 1e10) .. tostring(-1e300 * 1e10)
----
return string.format("%5.1f|%-8s|%+d", 3.14159, "ab", 5)
----
return ("%d items"):format(3)
----
return (("x"):rep(3)):upper()
----
--! Lua does not name the function of a protected call, Luau does
return {pcall(string.rep)}
----
--! Lua does not name the function of a protected call, Luau does
return {pcall(string.format, '%d', 'x')}
----
local ok, e = pcall(function() local x = nil; return x.y.z end) return type(e)
----
local ok, e = pcall(error) return tostring(e)
----
local ok, e = pcall(error, nil) return tostring(e)
----
return select('#', pcall(error))
